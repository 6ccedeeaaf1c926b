//! A flood over UDP: how long occasional queries wait for their answers behind it.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::contenders::ContenderKind;
use crate::process::{self, Backend};
use crate::wire;

/// The title of the section.
pub(super) const TITLE: &str = "Questions over UDP in a flood";
/// How long the flood lasts before queries are timed, and how long they are timed.
const FILLING: Duration = Duration::from_secs(1);
const LENGTH: Duration = Duration::from_secs(3);
/// The time between two queries.
const PACE: Duration = Duration::from_millis(10);
/// A query without an answer after this time has failed.
const PATIENCE: Duration = Duration::from_secs(2);
/// The number of sockets that send the flood.
const SENDERS: usize = 64;

/// The section of the report.
pub(super) fn section(
    ours: &Path,
    dir: &Path,
    ports: &mut impl Iterator<Item = u16>,
) -> Result<String, String> {
    let backend = Backend::start()?;
    let mut table = format!(
        "## {TITLE}\n\n\
         | | questions | no answer in 2 s | median ms | p99 ms | flood, datagrams/s |\n\
         | --- | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for kind in [ContenderKind::Ours, ContenderKind::CPen, ContenderKind::Nginx] {
        let port = ports.next().ok_or("out of ports")?;
        let row = observe(kind, ours, dir, port, backend.addr);
        let row = row.unwrap_or_else(|why| format!(" skipped: {why} | | | | |"));
        table += &format!("| {} |{row}\n", kind.name());
    }
    Ok(table)
}

fn observe(
    kind: ContenderKind,
    ours: &Path,
    dir: &Path,
    port: u16,
    server: SocketAddr,
) -> Result<String, String> {
    let contender = kind.start_udp(ours, dir, port, server)?;
    let (over, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    let asked = std::thread::scope(|scope| {
        scope.spawn(|| flood(contender.addr, &over, &sent));
        process::sleep_until(Instant::now() + FILLING);
        let asked = ask(contender.addr);
        over.store(true, Relaxed);
        asked
    })?;
    let mut times: Vec<Duration> = asked.iter().flatten().copied().collect();
    times.sort_unstable();
    let ms =
        |at: usize| times.get(at).map_or_else(|| "-".into(), |t| format!("{:.1}", t.as_secs_f64() * 1e3));
    Ok(format!(
        " {} | {} | {} | {} | {:.0} |",
        asked.len(),
        asked.len() - times.len(),
        ms(times.len() / 2),
        ms(times.len() * 99 / 100),
        sent.load(Relaxed) as f64 / (FILLING + LENGTH).as_secs_f64()
    ))
}

/// Sends from a fixed set of ports as fast as the system allows.
fn flood(addr: SocketAddr, over: &AtomicBool, sent: &AtomicU64) {
    let sockets: Vec<UdpSocket> = (0..SENDERS).filter_map(|_| open(addr).ok()).collect();
    while !over.load(Relaxed) && !sockets.is_empty() {
        for socket in &sockets {
            if socket.send(wire::KEEP).is_ok() {
                sent.fetch_add(1, Relaxed);
            }
        }
    }
}

/// Sends queries at a fixed rate, each from a new port, whatever happened to the earlier ones.
fn ask(addr: SocketAddr) -> Result<Vec<Option<Duration>>, String> {
    let begin = Instant::now();
    let mut threads = Vec::new();
    let mut at = begin;
    while at < begin + LENGTH {
        process::sleep_until(at);
        let socket = open(addr)?;
        threads.push(std::thread::spawn(move || {
            let start = Instant::now();
            socket.send(wire::KEEP).ok()?;
            socket.recv(&mut [0; 1024]).ok()?;
            Some(start.elapsed())
        }));
        at += PACE;
    }
    Ok(threads.into_iter().map(|thread| thread.join().ok().flatten()).collect())
}

fn open(addr: SocketAddr) -> Result<UdpSocket, String> {
    let fail = |e: std::io::Error| format!("client: {e}");
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(fail)?;
    socket.connect(addr).map_err(fail)?;
    socket.set_read_timeout(Some(PATIENCE)).map_err(fail)?;
    Ok(socket)
}
