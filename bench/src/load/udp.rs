//! Queries over UDP: from a fixed set of ports, or each from a new one, as resolvers do.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

use super::pump::answers;
use super::{Outcome, Task, Work, failed};
use crate::wire;

/// How long a contender may take to answer the probe; it is then repeated.
const PATIENCE: Duration = Duration::from_millis(500);

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
    let mut answer = [0u8; 1024];
    answers(task, &epoll, |id| {
        let asker = &mut askers[id];
        let count = asker.socket.recv(&mut answer).map_err(failed("recv"))?;
        if count != wire::ANSWER.len() {
            return Err(format!("an answer of {count} bytes"));
        }
        let took = asker.sent.elapsed();
        if task.work == Work::Question {
            // The old socket is closed when the new one replaces it.
            *asker = ask_anew(task, &epoll, id)?;
        } else {
            asker.sent = Instant::now();
            asker.socket.send(wire::KEEP).map_err(failed("send"))?;
        }
        Ok(Some(took))
    })
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

/// Sends one query and waits for the answer.
pub(super) fn probe(addr: SocketAddr) -> Result<(), String> {
    let socket = open(addr)?;
    socket.set_read_timeout(Some(PATIENCE)).map_err(failed("timeout"))?;
    socket.send(wire::KEEP).map_err(failed("send"))?;
    socket.recv(&mut [0; 1024]).map_err(failed("recv"))?;
    Ok(())
}
