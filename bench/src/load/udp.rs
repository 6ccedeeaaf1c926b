//! Questions over UDP: from ports that stay, or each from a new one, as resolvers ask.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::keep::p99;
use super::{Outcome, Phases, Task, Turn, Work, failed};
use crate::wire;

/// No answer takes longer; on loopback, with so few questions at a time, none is lost.
const PATIENCE: Duration = Duration::from_secs(5);

struct Asker {
    socket: UdpSocket,
    sent: Instant,
}

pub(super) fn run(task: &Task) -> Result<Outcome, String> {
    let epoll = Epoll::new(EpollCreateFlags::empty()).map_err(failed("epoll"))?;
    let mut askers = Vec::with_capacity(task.conns);
    for id in 0..task.conns {
        askers.push(ask_anew(task, &epoll, id)?);
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
            let id = event.data() as usize;
            let asker = &mut askers[id];
            let count = asker.socket.recv(&mut answer).map_err(failed("recv"))?;
            if count != wire::ANSWER.len() {
                return Err(format!("an answer of {count} bytes"));
            }
            latencies.push(u32::try_from(asker.sent.elapsed().as_nanos()).unwrap_or(u32::MAX));
            if task.work == Work::Question {
                // The old socket is closed as the new one takes its place.
                *asker = ask_anew(task, &epoll, id)?;
            } else {
                asker.sent = Instant::now();
                asker.socket.send(wire::KEEP).map_err(failed("send"))?;
            }
        }
        match phases.turn(Instant::now(), latencies.len() as u64) {
            Turn::On => {}
            Turn::Begin => latencies.clear(),
            Turn::Done(outcome) => return Ok(Outcome { p99_ns: p99(&mut latencies), ..outcome }),
        }
    }
}

fn open(addr: SocketAddr) -> Result<UdpSocket, String> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed("bind"))?;
    socket.connect(addr).map_err(failed("connect"))?;
    Ok(socket)
}

fn ask_anew(task: &Task, epoll: &Epoll, id: usize) -> Result<Asker, String> {
    let sent = Instant::now();
    let socket = open(task.addr)?;
    socket.send(wire::KEEP).map_err(failed("send"))?;
    epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, id as u64)).map_err(failed("epoll"))?;
    Ok(Asker { socket, sent })
}

/// One question, answered.
pub(super) fn probe(addr: SocketAddr) -> Result<(), String> {
    let socket = open(addr)?;
    socket.set_read_timeout(Some(PATIENCE / 10)).map_err(failed("timeout"))?;
    socket.send(wire::KEEP).map_err(failed("send"))?;
    socket.recv(&mut [0; 1024]).map_err(failed("recv"))?;
    Ok(())
}
