//! The holder of a contract: a separate process that runs one method and adopts all of its descendants.
//!
//! Linux has no process contracts. The holder is a child subreaper: however the method's processes daemonize, their
//! orphans become children of the holder, so that the descendants of the holder are the members of the contract, and
//! the holder learns how each adopted process ends. It does not learn how a process ends whose parent is alive, and
//! cannot distinguish a signal from inside the service from one from outside: every fatal signal of an adopted process
//! counts as one from outside.

use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Sender;
use std::thread;

use anyhow::Context;
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, wait};
use nix::unistd::Pid;

use super::Event;
use super::method::Run;

/// The argument that makes svc.startd a holder.
pub(crate) const ARGUMENT: &str = "--contract";

/// A report of a holder about its contract, one line each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Report {
    /// The method ended: exit status, or the signal that killed it.
    Method(Result<i32, i32>),
    /// An adopted process was killed by a signal, with or without a core.
    Fatal { core: bool },
    /// No process is left.
    Empty,
}

/// A running holder.
pub(crate) struct Holder {
    pub(crate) serial: u64,
    pub(crate) pid: i32,
}

impl Holder {
    /// Starts a holder for a method; its reports come as events with `serial`.
    pub(crate) fn start(
        run: &Run,
        log: std::fs::File,
        serial: u64,
        events: Sender<Event>,
    ) -> anyhow::Result<Holder> {
        let mut command = Command::new("/proc/self/exe");
        command.arg(ARGUMENT).args(&run.argv).env_clear().envs(run.env.iter().map(|(k, v)| (k, v)));
        command
            .current_dir(&run.dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .process_group(0);
        let mut child = command.spawn().context("holder of a contract")?;
        let pid = i32::try_from(child.id())?;
        thread::spawn(move || follow(&mut child, serial, &events));
        Ok(Holder { serial, pid })
    }
}

/// Converts the lines of a holder into events, until it ends.
fn follow(child: &mut Child, serial: u64, events: &Sender<Event>) {
    let lines = child.stdout.take().into_iter().flat_map(|stdout| BufReader::new(stdout).lines());
    let mut empty = false;
    for line in lines.map_while(Result::ok) {
        let (word, number) = line.split_once(' ').unwrap_or((&line, ""));
        let number = number.parse().unwrap_or(-1);
        let report = match word {
            "exit" => Report::Method(Ok(number)),
            "signal" => Report::Method(Err(number)),
            "fatal" => Report::Fatal { core: false },
            "core" => Report::Fatal { core: true },
            _ => Report::Empty,
        };
        empty |= report == Report::Empty;
        _ = events.send(Event::Report(serial, report));
    }
    _ = child.wait();
    if !empty {
        // The holder itself was killed: its contract is lost.
        _ = events.send(Event::Report(serial, Report::Empty));
    }
}

/// The main function of a holder: runs the rest of the arguments as the method.
pub(crate) fn hold(argv: &[String]) -> anyhow::Result<u8> {
    prctl::set_child_subreaper(true)?;
    let log = io::stderr().as_fd().try_clone_to_owned()?;
    let (program, args) = argv.split_first().context("no method")?;
    let spawned = Command::new(program).args(args).stdin(Stdio::null()).stdout(log).process_group(0).spawn();
    let method = match spawned {
        Ok(child) => i32::try_from(child.id())?,
        Err(error) => {
            eprintln!("{program}: {error}");
            report("exit 127");
            report("empty");
            return Ok(0);
        }
    };
    loop {
        match wait() {
            Ok(WaitStatus::Exited(pid, status)) if pid == Pid::from_raw(method) => {
                report(&format!("exit {status}"))
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == Pid::from_raw(method) => {
                report(&format!("signal {}", signal as i32));
            }
            Ok(WaitStatus::Signaled(_, signal, core)) => {
                // A limit on core files must not hide a crash, so the signal decides too.
                let crash = matches!(
                    signal,
                    Signal::SIGSEGV | Signal::SIGABRT | Signal::SIGBUS | Signal::SIGILL | Signal::SIGFPE
                );
                report(if core || crash { "core" } else { "fatal" });
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => {
                report("empty");
                return Ok(0);
            }
        }
    }
}

fn report(line: &str) {
    let mut out = io::stdout().lock();
    _ = writeln!(out, "{line}");
    _ = out.flush();
}
