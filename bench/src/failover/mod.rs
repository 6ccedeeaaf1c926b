//! The effect of failing servers on clients: `pen-bench failover [PEN]`, where PEN is our program.
//!
//! Two servers behind each contender, requests at a fixed rate whatever happened to the earlier ones, and one kind of
//! failure at a time.

mod clients;
mod contenders;
mod crowd;
mod flood;
mod server;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::{about, netns, process};
use clients::Seen;
use contenders::ContenderKind;
use server::ServerProcess;

pub(crate) use server::serve;

/// The failures of the servers, and their times.
struct Failure {
    name: &'static str,
    /// Seconds since the first request, the server, and the step.
    steps: &'static [(f64, usize, Step)],
    /// The duration of the requests in seconds.
    length: f64,
    /// The time between two requests.
    pace: Duration,
}

#[derive(Clone, Copy)]
enum Step {
    Kill,
    Start,
    Freeze,
    Thaw,
    /// It stops listening; its connections continue.
    Refuse,
    /// It resets the connections that it accepts.
    Reset,
    /// It accepts and answers again.
    Serve,
    /// Packets to its address are silently dropped.
    Vanish,
    Appear,
    /// The contender is told to give it no new clients, which is not the server's doing.
    Drain,
    /// It may have clients again.
    Ready,
}

/// The time between two requests.
const PACE: Duration = Duration::from_millis(5);

const FAILURES: [Failure; 9] = [
    Failure {
        name: "One of two servers killed for 1 s",
        steps: &[(1.0, 1, Step::Kill), (2.0, 1, Step::Start)],
        length: 4.0,
        pace: PACE,
    },
    Failure {
        name: "One of two servers frozen for 3 s",
        steps: &[(1.0, 1, Step::Freeze), (4.0, 1, Step::Thaw)],
        length: 6.0,
        pace: PACE,
    },
    Failure {
        name: "One of two servers refusing for 1 s",
        steps: &[(1.0, 1, Step::Refuse), (2.0, 1, Step::Serve)],
        length: 4.0,
        pace: PACE,
    },
    Failure {
        name: "One of two servers resetting for 2 s",
        steps: &[(1.0, 1, Step::Reset), (3.0, 1, Step::Serve)],
        length: 5.0,
        pace: PACE,
    },
    Failure {
        name: "One of two servers black-holed for 3 s",
        steps: &[(1.0, 1, Step::Vanish), (4.0, 1, Step::Appear)],
        length: 6.0,
        pace: PACE,
    },
    Failure {
        name: "3,000 requests in 3 s, one of two servers black-holed",
        steps: &[(0.0, 1, Step::Vanish)],
        length: 3.0,
        pace: Duration::from_millis(1),
    },
    Failure {
        name: "Both servers away for 1 s",
        steps: &[(1.0, 0, Step::Kill), (1.0, 1, Step::Kill), (2.0, 0, Step::Start), (2.0, 1, Step::Start)],
        length: 5.0,
        pace: PACE,
    },
    Failure {
        name: "Both servers restarted in turn, 1 s each, 5 s apart",
        steps: &[(1.0, 0, Step::Kill), (2.0, 0, Step::Start), (6.0, 1, Step::Kill), (7.0, 1, Step::Start)],
        length: 9.0,
        pace: PACE,
    },
    Failure {
        name: "One of two servers drained, killed half a second later, and back",
        steps: &[(1.0, 1, Step::Drain), (1.5, 1, Step::Kill), (2.5, 1, Step::Start), (3.5, 1, Step::Ready)],
        length: 5.0,
        pace: PACE,
    },
];

/// Measures, and prints a markdown table for each failure. The arguments are the path of a pen, and words: only the
/// tables with one of them in their title, if there are any.
///
/// # Errors
/// A network namespace is impossible, or a program of the bench itself fails.
pub(crate) fn run(args: &[String]) -> Result<(), String> {
    let (ours, parts) = match args {
        [] => (process::own_program()?.with_file_name("pen"), args),
        [program, parts @ ..] => (PathBuf::from(program), parts),
    };
    let is_wanted = |name: &str| parts.is_empty() || parts.iter().any(|part| name.contains(part.as_str()));
    netns::enter()?;
    crate::raise_descriptors()?;
    server::prepare()?;
    println!("# Measured by `make bench`\n\n{}", about::platform(&ours));
    let dir = tempfile::tempdir().map_err(|e| format!("temporary directory: {e}"))?;
    let mut ports = 10_000..20_000u16;
    for failure in FAILURES.iter().filter(|failure| is_wanted(failure.name)) {
        let mut table = format!(
            "## {}\n\n| | requests | failed | over 0.5 s | p99 ms | first to last failed, s |\n\
             | --- | ---: | ---: | ---: | ---: | ---: |\n",
            failure.name
        );
        for kind in ContenderKind::ALL {
            let port = ports.next().ok_or("out of ports")?;
            let row = match observe(failure, kind, &ours, dir.path(), port) {
                Ok(seen) => seen.row(),
                Err(why) => format!(" skipped: {why} | | | | |"),
            };
            let _ = writeln!(table, "| {} |{row}", kind.name());
        }
        println!("{table}");
    }
    if is_wanted(crowd::TITLE) {
        println!("{}", crowd::section(&ours, dir.path(), &mut ports)?);
    }
    if is_wanted(flood::TITLE) {
        print!("{}", flood::section(&ours, dir.path(), &mut ports)?);
    }
    Ok(())
}

/// Runs one contender while `failure` happens to its servers.
fn observe(
    failure: &Failure,
    kind: ContenderKind,
    ours: &Path,
    dir: &Path,
    port: u16,
) -> Result<Seen, String> {
    let mut servers = [ServerProcess::start(0)?, ServerProcess::start(1)?];
    let contender = kind.start(ours, dir, port, servers.each_ref().map(ServerProcess::address))?;
    if failure.steps.iter().any(|(.., step)| matches!(step, Step::Drain)) {
        // Whoever cannot is left out.
        kind.drain(dir, port, 1, false)?;
    }
    let begin = Instant::now();
    let seen = std::thread::scope(|scope| {
        let length = Duration::from_secs_f64(failure.length);
        let (addr, pace) = (contender.addr, failure.pace);
        let clients = scope.spawn(move || clients::run(addr, length, pace));
        for (at, which, step) in failure.steps {
            process::sleep_until(begin + Duration::from_secs_f64(*at));
            match step {
                Step::Drain => kind.drain(dir, port, *which, true)?,
                Step::Ready => kind.drain(dir, port, *which, false)?,
                step => servers[*which].apply(*step)?,
            }
        }
        clients.join().map_err(|_| "the clients panicked".to_owned())
    })?;
    server::restore()?;
    Ok(seen)
}
