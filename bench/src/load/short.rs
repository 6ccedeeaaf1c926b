//! A new connection for each request: connect, send, read to the end, close.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

use super::pump::answers;
use super::{Outcome, Task, failed};
use crate::wire;

struct OneRequestConn {
    stream: TcpStream,
    since: Instant,
    got: usize,
}

pub(super) fn run(task: &Task) -> Result<Outcome, String> {
    let epoll = Epoll::new(EpollCreateFlags::empty()).map_err(failed("epoll"))?;
    let mut conns = Vec::with_capacity(task.conns);
    for id in 0..task.conns {
        conns.push(open(task, &epoll, id)?);
    }
    let mut answer = [0u8; 1024];
    answers(task, &epoll, |id| {
        let conn = &mut conns[id];
        match conn.stream.read(&mut answer) {
            Ok(0) if conn.got == wire::ANSWER.len() => {
                let took = conn.since.elapsed();
                // The old stream is closed when the new one replaces it.
                *conn = open(task, &epoll, id)?;
                return Ok(Some(took));
            }
            Ok(0) => return Err(format!("closed after {} bytes of the answer", conn.got)),
            Ok(n) => conn.got += n,
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            Err(e) => return Err(format!("read: {e}")),
        }
        Ok(None)
    })
}

/// On loopback the kernel finishes a connect within the call, so blocking costs nothing.
fn open(task: &Task, epoll: &Epoll, id: usize) -> Result<OneRequestConn, String> {
    let since = Instant::now();
    let mut stream = TcpStream::connect(task.addr).map_err(failed("connect"))?;
    stream.write_all(wire::CLOSE).map_err(failed("write"))?;
    stream.set_nonblocking(true).map_err(failed("nonblocking"))?;
    epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, id as u64)).map_err(failed("epoll"))?;
    Ok(OneRequestConn { stream, since, got: 0 })
}
