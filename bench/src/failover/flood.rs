//! A flood over UDP: how long those who ask now and then wait for their answers behind it.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::contenders::Kind;
use crate::process::{self, Backend};
use crate::wire;

/// How long the flood lasts before anybody's answers are timed, and how long they are.
const FILLING: Duration = Duration::from_secs(1);
const LENGTH: Duration = Duration::from_secs(3);
/// Between two questions.
const PACE: Duration = Duration::from_millis(10);
/// Who has no answer by then has none.
const PATIENCE: Duration = Duration::from_secs(2);
/// Sockets that the flood comes from.
const SENDERS: usize = 64;

/// The section of the report.
pub(super) fn section(
    ours: &Path,
    dir: &Path,
    ports: &mut impl Iterator<Item = u16>,
) -> Result<String, String> {
    let backend = Backend::start()?;
    let mut table = String::from(
        "## Questions over UDP in a flood\n\n\
         | | questions | no answer in 2 s | median ms | p99 ms | flood, datagrams/s |\n\
         | --- | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for kind in [Kind::Ours, Kind::CPen, Kind::Nginx] {
        let port = ports.next().ok_or("out of ports")?;
        let row = observe(kind, ours, dir, port, backend.addr);
        let row = row.unwrap_or_else(|why| format!(" skipped: {why} | | | | |"));
        table += &format!("| {} |{row}\n", kind.name());
    }
    Ok(table)
}

fn observe(kind: Kind, ours: &Path, dir: &Path, port: u16, server: SocketAddr) -> Result<String, String> {
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

/// Sends from ports that stay as fast as the system takes it.
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

/// One question after the other, each from a port of its own and at its time, whatever became of those before.
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
