//! penlogd: receives pen's entries and web servers' lines, and writes one log with the real clients' addresses.

mod acl;
mod matcher;
mod merger;
mod receiver;

use std::io;
use std::net::{IpAddr, UdpSocket};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::signal::unix::{SignalKind, signal};

use crate::core::acl::Acl;
use crate::sys::daemon::{self, Fork, Ready};
use crate::sys::pidfile::PidFile;
use crate::sys::{log, privileges, runtime};

use super::signals::unblock;
use super::sink::{LogHandle, SinkOptions, SinkTarget};
use crate::core::error::SystemReason;
use acl::read_acl;
use receiver::Receiver;

pub use merger::Merger;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How long the shutdown waits for the disk.
const PATIENCE: Duration = Duration::from_secs(5);

/// The options of penlogd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PenlogdOptions {
    /// `-a`: the access list of senders.
    pub acl: Option<PathBuf>,
    /// `-b`: write each line at once.
    pub unbuffered: bool,
    /// `-d`: the debug level.
    pub debug: u32,
    /// `-f`: stay in the foreground.
    pub foreground: bool,
    /// `-j`: the directory to chroot to.
    pub jail: Option<PathBuf>,
    /// `-l`: the log.
    pub log: SinkTarget,
    /// `-n`: the number of entries of pen that are kept.
    pub entries: usize,
    /// `-p`: the pid file.
    pub pid_file: Option<PathBuf>,
    /// `-u`: the user to become.
    pub user: Option<String>,
    /// `-w`: how long a line waits for its entry.
    pub hold: Duration,
    /// The address to receive on; `None`: every address, IPv4 and IPv6.
    pub address: Option<IpAddr>,
    /// The UDP port; 0 lets the system choose.
    pub port: u16,
}

/// Runs penlogd until TERM or INT. Returns the exit status.
pub fn run(options: &PenlogdOptions) -> ExitCode {
    log::set_program(c"penlogd");
    let prepared = match PreparedDaemon::new(options) {
        Ok(prepared) => prepared,
        Err(error) => return failed(&error),
    };
    let ready = if options.foreground { Ok(Fork::Child(Ready::foreground())) } else { daemon::detach() };
    match ready {
        Ok(Fork::Parent(code)) => code,
        Ok(Fork::Child(ready)) => serve(options, prepared, ready).unwrap_or_else(|error| failed(&error)),
        Err(error) => failed(&error),
    }
}

fn failed(error: &io::Error) -> ExitCode {
    log::error(format_args!("{}", SystemReason(error)));
    log::flush(PATIENCE);
    ExitCode::FAILURE
}

/// The results of preparations made before penlogd moves to the background, while errors still reach the user.
struct PreparedDaemon {
    acl: Acl,
    account: Option<privileges::Account>,
    socket: UdpSocket,
}

impl PreparedDaemon {
    fn new(options: &PenlogdOptions) -> io::Result<PreparedDaemon> {
        log::set_debug_level(options.debug);
        unblock(&[Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP])?;
        Ok(PreparedDaemon {
            acl: options.acl.as_deref().map_or(Ok(Acl::default()), read_acl)?,
            account: options.user.as_deref().map(privileges::Account::lookup).transpose()?,
            socket: receiver::bind(options.address, options.port)?,
        })
    }
}

fn serve(options: &PenlogdOptions, prepared: PreparedDaemon, ready: Ready) -> io::Result<ExitCode> {
    let PreparedDaemon { acl, account, socket } = prepared;
    log::connect();
    privileges::confine(options.jail.as_deref(), account.as_ref(), false)?;
    let output = open_log(options)?;
    let pid_file = options.pid_file.as_deref().map(PidFile::write).transpose()?;
    let runtime = runtime::current_thread()?;
    let code = runtime.block_on(async {
        let mut signals = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()]
            .map(signal)
            .into_iter()
            .collect::<io::Result<Vec<_>>>()?;
        let merger = Merger::new(options.entries, options.hold);
        let mut receiver = Receiver::new(socket, merger, output.clone(), acl)?;
        let here = receiver.address()?;
        ready.release()?;
        log::start(if options.foreground { log::Target::Stderr } else { log::Target::Syslog })?;
        log::info(format_args!("penlogd {VERSION} started: log to {}, receiving on {here}", options.log));
        receiver.run(&mut signals, options.acl.as_deref()).await;
        Ok::<_, io::Error>(ExitCode::SUCCESS)
    })?;
    if let Err(lost) = output.close(PATIENCE) {
        log::error(format_args!("{lost}"));
    }
    drop(pid_file);
    log::info(format_args!("penlogd {VERSION} stopped"));
    log::flush(PATIENCE);
    Ok(code)
}

fn open_log(options: &PenlogdOptions) -> io::Result<LogHandle> {
    let linger = if options.unbuffered { Duration::ZERO } else { SinkOptions::default().linger };
    let report = Box::new(|text: &str| log::warn(format_args!("{text}")));
    let output = LogHandle::start(SinkOptions { linger, ..SinkOptions::default() }, report)?;
    let target = &options.log;
    let opened = output.set(Some(target.clone()));
    opened.map_err(|error| {
        io::Error::new(error.kind(), format!("cannot open log {target}: {}", SystemReason(&error)))
    })?;
    Ok(output)
}
