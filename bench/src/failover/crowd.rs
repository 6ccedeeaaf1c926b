//! Very many clients at once, half of which should get an unreachable server: which clients wait, and what waking them
//! costs.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::Step;
use super::contenders::ContenderKind;
use super::server::{self, ServerProcess};
use crate::{procfs, wire};

/// The title of the section.
pub(super) const TITLE: &str = "8,000 clients at once, one of two servers black-holed";
/// The number of clients.
const CLIENTS: usize = 8000;
/// A client without an answer after this time has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// The section of the report.
pub(super) fn section(
    ours: &Path,
    dir: &Path,
    ports: &mut impl Iterator<Item = u16>,
) -> Result<String, String> {
    let mut table = format!(
        "## {TITLE}\n\n\
         | | failed | median ms | last ms | CPU ms |\n| --- | ---: | ---: | ---: | ---: |\n"
    );
    for kind in ContenderKind::ALL {
        let port = ports.next().ok_or("out of ports")?;
        let row = observe(kind, ours, dir, port).unwrap_or_else(|why| format!(" skipped: {why} | | | |"));
        server::restore()?;
        table += &format!("| {} |{row}\n", kind.name());
    }
    Ok(table)
}

fn observe(kind: ContenderKind, ours: &Path, dir: &Path, port: u16) -> Result<String, String> {
    let mut servers = [ServerProcess::start(0)?, ServerProcess::start(1)?];
    let contender = kind.start(ours, dir, port, servers.each_ref().map(ServerProcess::address))?;
    servers[1].apply(Step::Vanish)?;
    let before = procfs::cpu_ns(&contender.pids);
    let mut times = served(contender.addr)?;
    let cpu = procfs::cpu_ns(&contender.pids).saturating_sub(before);
    times.sort_unstable();
    let ms = |time: Option<&Duration>| time.map_or_else(|| "-".into(), |t| t.as_millis().to_string());
    Ok(format!(
        " {} | {} | {} | {} |",
        CLIENTS - times.len(),
        ms(times.get(times.len() / 2)),
        ms(times.last()),
        cpu / 1_000_000
    ))
}

/// Lets every client send one request; returns when the successful ones had their answers.
fn served(addr: SocketAddr) -> Result<Vec<Duration>, String> {
    let fail = |e: std::io::Error| format!("client: {e}");
    let epoll = Epoll::new(EpollCreateFlags::empty()).map_err(|e| format!("epoll: {e}"))?;
    let begin = Instant::now();
    let mut clients = Vec::with_capacity(CLIENTS);
    for _ in 0..CLIENTS {
        // A contender that accepts too slowly leaves some clients that never send their request.
        let left = PATIENCE.saturating_sub(begin.elapsed());
        if left.is_zero() {
            break;
        }
        let Ok(mut stream) = TcpStream::connect_timeout(&addr, left) else { break };
        stream.set_nonblocking(true).map_err(fail)?;
        if stream.write_all(wire::CLOSE).is_err() {
            continue;
        }
        epoll
            .add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, clients.len() as u64))
            .map_err(|e| format!("epoll: {e}"))?;
        clients.push((Some(stream), 0));
    }
    let mut times = Vec::new();
    let mut waiting = clients.len();
    let mut events = [EpollEvent::empty(); 256];
    while waiting > 0 && begin.elapsed() < PATIENCE {
        let count = match epoll.wait(&mut events, EpollTimeout::from(100u16)) {
            Err(nix::errno::Errno::EINTR) => continue,
            count => count.map_err(|e| format!("epoll: {e}"))?,
        };
        for event in &events[..count] {
            let (stream, got) = &mut clients[event.data() as usize];
            let ended = match stream.as_mut().map(|stream| stream.read(&mut [0; 4096])) {
                Some(Ok(n @ 1..)) => {
                    *got += n;
                    false
                }
                Some(Err(e)) => e.kind() != ErrorKind::WouldBlock,
                Some(Ok(0)) | None => true,
            };
            if ended && stream.take().is_some() {
                waiting -= 1;
                if *got == wire::ANSWER.len() {
                    times.push(begin.elapsed());
                }
            }
        }
    }
    Ok(times)
}
