//! Connections that are idle after one request each: how much memory do they hold?

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::{Outcome, Task, failed, tls};
use crate::{procfs, wire};

/// How long the connections are idle before memory is read, in milliseconds: buffers may be released late.
const REST_MS: u16 = 300;
/// The time limit for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

enum IdleStream {
    Plain(TcpStream),
    Tls(Box<tls::TlsStream>),
}

pub(super) fn run(task: &Task) -> Result<Outcome, String> {
    let client = task.tls.as_ref().map(tls::Client::new).transpose()?;
    // The first connection makes the contender allocate its one-time data.
    let first = open(task, client.as_ref())?;
    let before = if task.pids.is_empty() { 0 } else { procfs::anonymous_kib(&task.pids)? };
    let mut streams = Vec::with_capacity(task.conns);
    streams.push(first);
    for _ in 1..task.conns {
        streams.push(open(task, client.as_ref())?);
    }
    if task.pids.is_empty() {
        return Ok(Outcome { units: task.conns as u64, ..Outcome::default() });
    }
    let epoll = Epoll::new(EpollCreateFlags::empty()).map_err(failed("epoll"))?;
    for stream in &streams {
        let tcp = match stream {
            IdleStream::Plain(tcp) => tcp,
            IdleStream::Tls(tls) => tls.sock.tcp(),
        };
        epoll.add(tcp, EpollEvent::new(EpollFlags::EPOLLRDHUP, 0)).map_err(failed("epoll"))?;
    }
    if epoll.wait(&mut [EpollEvent::empty()], EpollTimeout::from(REST_MS)).map_err(failed("epoll"))? > 0 {
        return Err("an idle connection was closed".into());
    }
    let all_kib = procfs::anonymous_kib(&task.pids)?;
    let grown_kib = all_kib.saturating_sub(before);
    Ok(Outcome { units: task.conns as u64 - 1, grown_kib, all_kib, ..Outcome::default() })
}

fn open(task: &Task, client: Option<&tls::Client>) -> Result<IdleStream, String> {
    let mut tcp = TcpStream::connect(task.addr).map_err(failed("connect"))?;
    tcp.set_read_timeout(Some(PATIENCE)).map_err(failed("timeout"))?;
    match client {
        None => {
            ask(&mut tcp)?;
            Ok(IdleStream::Plain(tcp))
        }
        Some(client) => {
            let mut stream = client.wrap(tcp)?;
            ask(&mut stream)?;
            Ok(IdleStream::Tls(Box::new(stream)))
        }
    }
}

fn ask<S: Read + Write>(stream: &mut S) -> Result<(), String> {
    stream.write_all(wire::KEEP).map_err(failed("write"))?;
    let mut answer = [0u8; wire::ANSWER.len()];
    stream.read_exact(&mut answer).map_err(failed("read"))?;
    if answer == *wire::ANSWER { Ok(()) } else { Err("answer differs from the server's".into()) }
}
