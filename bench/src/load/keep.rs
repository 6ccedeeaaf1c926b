//! Requests on connections that stay: each connection sends its next request when the answer is there.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::{Outcome, Phases, Task, Turn, failed};
use crate::wire;

struct Conn {
    stream: TcpStream,
    sent: Instant,
    got: usize,
}

pub(super) fn run(task: &Task) -> Result<Outcome, String> {
    let epoll = Epoll::new(EpollCreateFlags::empty()).map_err(failed("epoll"))?;
    let mut conns = Vec::with_capacity(task.conns);
    for id in 0..task.conns {
        let stream = TcpStream::connect(task.addr).map_err(failed("connect"))?;
        stream.set_nodelay(true).map_err(failed("nodelay"))?;
        stream.set_nonblocking(true).map_err(failed("nonblocking"))?;
        epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, id as u64)).map_err(failed("epoll"))?;
        conns.push(Conn { stream, sent: Instant::now(), got: 0 });
    }
    for conn in &mut conns {
        send(conn)?;
    }
    let mut phases = Phases::start(task);
    let mut latencies: Vec<u32> = Vec::with_capacity(1 << 18);
    let mut events = [EpollEvent::empty(); 128];
    let mut answer = [0u8; 1024];
    loop {
        let ready = match epoll.wait(&mut events, EpollTimeout::from(5000u16)) {
            Ok(0) => return Err("no answer for 5 s".into()),
            Ok(n) => n,
            Err(e) => return Err(format!("epoll: {e}")),
        };
        for event in &events[..ready] {
            let conn = &mut conns[event.data() as usize];
            match conn.stream.read(&mut answer).map_err(failed("read"))? {
                0 => return Err("connection closed under a request".into()),
                n => conn.got += n,
            }
            if conn.got == wire::ANSWER.len() {
                latencies.push(u32::try_from(conn.sent.elapsed().as_nanos()).unwrap_or(u32::MAX));
                send(conn)?;
            } else if conn.got > wire::ANSWER.len() {
                return Err("answer longer than the server's".into());
            }
        }
        match phases.turn(Instant::now(), latencies.len() as u64) {
            Turn::On => {}
            Turn::Begin => latencies.clear(),
            Turn::Done(outcome) => return Ok(Outcome { p99_ns: p99(&mut latencies), ..outcome }),
        }
    }
}

fn send(conn: &mut Conn) -> Result<(), String> {
    conn.got = 0;
    conn.sent = Instant::now();
    match conn.stream.write(wire::KEEP).map_err(failed("write"))? {
        n if n == wire::KEEP.len() => Ok(()),
        _ => Err("short write of a request".into()),
    }
}

/// The 99th percentile, 0 of nothing.
pub(super) fn p99(latencies: &mut [u32]) -> u64 {
    if latencies.is_empty() {
        return 0;
    }
    let at = latencies.len() * 99 / 100;
    u64::from(*latencies.select_nth_unstable(at).1)
}
