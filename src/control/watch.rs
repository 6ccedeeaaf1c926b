//! `penctl watch`: a table of the servers that is updated regularly, as by top(1).

use std::io;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::core::addr::Endpoint;
use crate::core::error::SystemReason;
use crate::sys::screen;

use super::output;
use super::servers::{self, ListedServer, ServersDocument};
use super::servers_table::{self, Cells};

/// Moves the cursor to the top left and clears the screen from there: ECMA-48, which all current terminals support.
const CLEAR: &str = "\x1b[H\x1b[J";

/// How long pen may take for an answer, so that an old table is not taken for a new one for long.
const LIMIT: Duration = Duration::from_secs(10);

/// Shows the servers of the pen at `target` every `pause`, `count` times or until the output is closed. On a terminal
/// each table replaces the one before, and is cut to its size. The status is 1 if the last attempt to reach pen failed,
/// or the table cannot be written.
pub fn run(target: &Endpoint, pause: Duration, count: Option<u32>) -> ExitCode {
    let mut before: Option<(Instant, ServersDocument)> = None;
    let mut left = count;
    loop {
        let now = Instant::now();
        let read = servers::read(target, LIMIT);
        // Asked anew each time: the window may have another size by now.
        let size = screen::size();
        let text = match &read {
            Ok(read) => {
                let then = before.as_ref().map(|(then, servers)| (now - *then, servers));
                let rows: Vec<Cells> = read.servers.iter().map(|server| cells(server, then)).collect();
                servers_table::text(&read.time, &rows, size)
            }
            Err(error) => servers_table::cut(format!("{target}: {}", SystemReason(error)), size) + "\n",
        };
        let begin = if size.is_some() { CLEAR } else { "" };
        let gone = match output::print(format!("{begin}{text}")) {
            Ok(()) => false,
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => true,
            Err(_) => return ExitCode::FAILURE,
        };
        left = left.map(|left| left - 1);
        if left == Some(0) || gone || is_closed_after(&io::stdout(), pause) {
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

/// The row of a server; rates are relative to the servers `before`, read that long ago.
fn cells(server: &ListedServer, before: Option<(Duration, &ServersDocument)>) -> Cells {
    let then = before.and_then(|(passed, servers)| Some((passed.as_secs_f64(), same(server, servers)?)));
    let rate = |of: fn(&ListedServer) -> u64, unit: f64| match then {
        Some((seconds, then)) if seconds > 0.0 => {
            format!("{:.1}", of(server).saturating_sub(of(then)) as f64 / unit / seconds)
        }
        _ => "-".into(),
    };
    [
        server.label(),
        server.endpoint(),
        server.standing().to_owned(),
        match server.max {
            0 => server.connections.to_string(),
            max => format!("{}/{max}", server.connections),
        },
        rate(|s| s.connects, 1.0),
        rate(|s| s.sent_bytes, 1024.0),
        rate(|s| s.received_bytes, 1024.0),
        server.connect_p99_seconds.map_or_else(|| "-".into(), |s| format!("{:.1}", s * 1000.0)),
        server.failures.to_string(),
    ]
}

fn same<'a>(server: &ListedServer, among: &'a ServersDocument) -> Option<&'a ListedServer> {
    let same = |other: &&ListedServer| {
        (other.server, &other.role, &other.address) == (server.server, &server.role, &server.address)
    };
    among.servers.iter().find(same)
}
