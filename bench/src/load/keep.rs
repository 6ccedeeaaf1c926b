//! Requests on persistent connections: each connection sends its next request when the answer has arrived.

use std::cmp::Ordering;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

use super::pump::answers;
use super::{Outcome, Task, failed};
use crate::wire;

struct PersistentConn {
    stream: TcpStream,
    sent: Instant,
    got: usize,
}

pub(super) fn run(task: &Task) -> Result<Outcome, String> {
    let epoll = Epoll::new(EpollCreateFlags::empty()).map_err(failed("epoll"))?;
    let streams = connect(task, &epoll)?.into_iter();
    let mut conns: Vec<_> =
        streams.map(|stream| PersistentConn { stream, sent: Instant::now(), got: 0 }).collect();
    for conn in &mut conns {
        send(conn)?;
    }
    let mut answer = [0u8; 1024];
    answers(task, &epoll, |id| {
        let conn = &mut conns[id];
        match conn.stream.read(&mut answer).map_err(failed("read"))? {
            0 => return Err("connection closed under a request".into()),
            n => conn.got += n,
        }
        match conn.got.cmp(&wire::ANSWER.len()) {
            Ordering::Less => Ok(None),
            Ordering::Greater => Err("answer longer than the server's".into()),
            Ordering::Equal => {
                let took = conn.sent.elapsed();
                send(conn)?;
                Ok(Some(took))
            }
        }
    })
}

fn send(conn: &mut PersistentConn) -> Result<(), String> {
    conn.got = 0;
    conn.sent = Instant::now();
    request(&mut conn.stream)
}

/// Opens the connections of a round; the events of each have its number.
pub(super) fn connect(task: &Task, epoll: &Epoll) -> Result<Vec<TcpStream>, String> {
    let open = |id| {
        let stream = TcpStream::connect(task.addr).map_err(failed("connect"))?;
        stream.set_nodelay(true).map_err(failed("nodelay"))?;
        stream.set_nonblocking(true).map_err(failed("nonblocking"))?;
        epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, id as u64)).map_err(failed("epoll"))?;
        Ok(stream)
    };
    (0..task.conns).map(open).collect()
}

/// Sends a request on a connection that carries none.
pub(super) fn request(stream: &mut TcpStream) -> Result<(), String> {
    match stream.write(wire::KEEP).map_err(failed("write"))? {
        n if n == wire::KEEP.len() => Ok(()),
        _ => Err("short write of a request".into()),
    }
}
