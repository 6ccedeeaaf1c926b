//! Endless downloads; the kernel discards the bytes (MSG_TRUNC, tcp(7)), so that the client costs little.

use std::io::Write;
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::time::Instant;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::socket::{MsgFlags, recv};

use super::pump::ready;
use super::{Outcome, Phases, Task, Turn, failed};
use crate::wire;

/// Bytes taken from one connection before the others are served.
const SIP: usize = 1 << 20;

pub(super) fn run(task: &Task) -> Result<Outcome, String> {
    let epoll = Epoll::new(EpollCreateFlags::empty()).map_err(failed("epoll"))?;
    let mut conns = Vec::with_capacity(task.conns);
    for id in 0..task.conns {
        let mut stream = TcpStream::connect(task.addr).map_err(failed("connect"))?;
        stream.write_all(wire::BULK).map_err(failed("write"))?;
        stream.set_nonblocking(true).map_err(failed("nonblocking"))?;
        epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, id as u64)).map_err(failed("epoll"))?;
        conns.push(stream);
    }
    let mut phases = Phases::start(task);
    let mut bytes = 0u64;
    let mut events = [EpollEvent::empty(); 64];
    let mut sink = vec![0u8; SIP];
    loop {
        for id in ready(&epoll, &mut events)? {
            match recv(conns[id].as_raw_fd(), &mut sink, MsgFlags::MSG_TRUNC) {
                Ok(0) => return Err("download ended".into()),
                Ok(n) => bytes += n as u64,
                Err(nix::errno::Errno::EAGAIN) => {}
                Err(e) => return Err(format!("read: {e}")),
            }
        }
        match phases.turn(Instant::now(), bytes) {
            Turn::On => {}
            Turn::Begin => bytes = 0,
            Turn::Done(outcome) => return Ok(outcome),
        }
    }
}
