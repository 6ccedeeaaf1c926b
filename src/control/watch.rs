//! `penctl watch`: a table of the servers that is updated regularly, as by top(1).

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::core::addr::Endpoint;
use crate::core::error::SystemReason;

use super::servers::{self, ListedServer, ServersDocument};

/// Moves the cursor to the top left and clears the screen from there: ECMA-48, which all current terminals support.
const CLEAR: &str = "\x1b[H\x1b[J";

/// Shows the servers of the pen at `target` every `pause`, `count` times or until the output is closed. On a terminal
/// each table replaces the one before. The status is 1 if the last attempt to reach pen failed.
pub fn run(target: &Endpoint, pause: Duration, count: Option<u32>) -> ExitCode {
    let mut out = io::stdout();
    let begin = if out.is_terminal() { CLEAR } else { "" };
    let mut before: Option<(Instant, ServersDocument)> = None;
    let mut left = count;
    loop {
        let now = Instant::now();
        let read = servers::read(target);
        let text = match &read {
            Ok(read) => table(read, before.as_ref().map(|(then, servers)| (now - *then, servers))),
            Err(error) => format!("{target}: {}\n", SystemReason(error)),
        };
        let written = out.write_all(format!("{begin}{text}").as_bytes()).and_then(|()| out.flush());
        left = left.map(|left| left - 1);
        if left == Some(0) || written.is_err() || is_closed_after(&out, pause) {
            return if read.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
        before = read.ok().map(|read| (now, read));
    }
}

/// Pauses. True if `out` was closed in the meantime.
fn is_closed_after(out: &impl AsFd, pause: Duration) -> bool {
    let mut watched = [PollFd::new(out.as_fd(), PollFlags::empty())];
    let time = PollTimeout::try_from(pause).unwrap_or(PollTimeout::MAX);
    poll(&mut watched, time).is_ok_and(|ready| ready > 0)
}

/// The table; rates are relative to the servers `before`, read that long ago.
fn table(read: &ServersDocument, before: Option<(Duration, &ServersDocument)>) -> String {
    let mut text = format!("{}\n", read.time);
    _ = writeln!(
        text,
        "{:<16} {:<28} {:<12} {:>11} {:>8} {:>10} {:>10} {:>9} {:>7}",
        "SERVER", "ADDRESS", "STATE", "CONNECTIONS", "NEW/S", "TO KB/S", "FROM KB/S", "P99 MS", "FAILED"
    );
    for server in &read.servers {
        let then = before.and_then(|(passed, servers)| Some((passed.as_secs_f64(), same(server, servers)?)));
        let rate = |of: fn(&ListedServer) -> u64, unit: f64| match then {
            Some((seconds, then)) if seconds > 0.0 => {
                format!("{:.1}", of(server).saturating_sub(of(then)) as f64 / unit / seconds)
            }
            _ => "-".into(),
        };
        let connections = match server.max {
            0 => server.connections.to_string(),
            max => format!("{}/{max}", server.connections),
        };
        let address = server.endpoint();
        let p99 = server.connect_p99_seconds.map_or_else(|| "-".into(), |s| format!("{:.1}", s * 1000.0));
        _ = writeln!(
            text,
            "{:<16} {address:<28} {:<12} {connections:>11} {:>8} {:>10} {:>10} {p99:>9} {:>7}",
            server.label(),
            server.standing(),
            rate(|s| s.connects, 1.0),
            rate(|s| s.sent_bytes, 1024.0),
            rate(|s| s.received_bytes, 1024.0),
            server.failures,
        );
    }
    text
}

fn same<'a>(server: &ListedServer, among: &'a ServersDocument) -> Option<&'a ListedServer> {
    let same = |other: &&ListedServer| {
        (other.server, &other.role, &other.address) == (server.server, &server.role, &server.address)
    };
    among.servers.iter().find(same)
}
