//! penlogd: receives pen's entries and web servers' lines, and writes one log with the addresses of the real clients.

use std::fmt::Arguments;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use memchr::memchr;
use socket2::SockRef;
use tokio::net::UdpSocket as AsyncSocket;
use tokio::signal::unix::{SignalKind, signal};

use crate::core::acl::{Acl, AclEntry};
use crate::core::{Error, lexer};
use crate::sys::daemon::{self, Fork, Ready};
use crate::sys::pidfile::PidFile;
use crate::sys::{listen, log, privileges, runtime};

use super::merge::Merger;
use super::sink;
use super::{LogHandle, Target};

/// Largest UDP payload; what pen and penlog send is much smaller.
const LARGEST: usize = 65_536;

/// The receive buffer to ask the system for: a second of a busy site. It may give less.
const SOCKET_BUFFER: usize = 4 << 20;

/// How many datagrams are read before signals and held lines get their turn.
const BATCH: usize = 256;

/// How long the end waits for the disk.
const PATIENCE: Duration = Duration::from_secs(5);

/// What penlogd is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// `-a`: who may send.
    pub acl: Option<PathBuf>,
    /// `-b`: write each line at once.
    pub unbuffered: bool,
    /// `-d`: how much to tell.
    pub debug: u32,
    /// `-f`: stay in the foreground.
    pub foreground: bool,
    /// `-j`: the directory to chroot to.
    pub jail: Option<PathBuf>,
    /// `-l`: the log; standard output without.
    pub log: Option<PathBuf>,
    /// `-n`: how many entries of pen are kept.
    pub entries: usize,
    /// `-p`: where to write the process id.
    pub pid_file: Option<PathBuf>,
    /// `-u`: the user to become.
    pub user: Option<String>,
    /// `-w`: how long a line waits for its entry.
    pub hold: Duration,
    /// Where to receive; `None`: every address, IPv4 and IPv6.
    pub address: Option<IpAddr>,
    /// The UDP port; 0 lets the system choose.
    pub port: u16,
}

/// Runs penlogd until TERM or INT. Returns the status to exit with.
pub fn run(options: &Options) -> ExitCode {
    log::set_program(c"penlogd");
    let (setup, socket) = match prepare(options) {
        Ok(prepared) => prepared,
        Err(error) => return failed(&error),
    };
    let ready = if options.foreground { Ok(Fork::Child(Ready::foreground())) } else { daemon::detach() };
    match ready {
        Ok(Fork::Parent(code)) => code,
        Ok(Fork::Child(ready)) => serve(options, setup, socket, ready).unwrap_or_else(|error| failed(&error)),
        Err(error) => failed(&error),
    }
}

fn failed(error: &io::Error) -> ExitCode {
    log::error(format_args!("{error}"));
    log::flush(PATIENCE);
    ExitCode::FAILURE
}

/// What is found out before penlogd goes to the background, where errors still reach the user.
struct Setup {
    acl: Acl,
    account: Option<privileges::Account>,
}

fn prepare(options: &Options) -> io::Result<(Setup, UdpSocket)> {
    log::set_debug_level(options.debug);
    let acl = options.acl.as_deref().map_or(Ok(Acl::default()), read_acl)?;
    let account = options.user.as_deref().map(privileges::Account::lookup).transpose()?;
    Ok((Setup { acl, account }, bind(options.address, options.port)?))
}

fn bind(address: Option<IpAddr>, port: u16) -> io::Result<UdpSocket> {
    let any = Ipv6Addr::UNSPECIFIED.into();
    let socket = match listen::bind_udp(SocketAddr::new(address.unwrap_or(any), port)) {
        // A system without IPv6 says EAFNOSUPPORT or EADDRNOTAVAIL.
        Err(error) if address.is_none() && error.kind() != io::ErrorKind::AddrInUse => {
            listen::bind_udp(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port)).map_err(|_| error)?
        }
        other => other?,
    };
    // The system's limit may be lower: then it is what it is.
    let _ = SockRef::from(&socket).set_recv_buffer_size(SOCKET_BUFFER);
    Ok(socket)
}

/// Reads an ACL file: `permit|deny IP [MASK]` or `permit|deny IP6[/LEN]` a line, as pen's command `acl`.
fn read_acl(path: &Path) -> io::Result<Acl> {
    let invalid = |error: Error| io::Error::new(io::ErrorKind::InvalidInput, error.to_string());
    let name = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| io::Error::new(error.kind(), format!("cannot read ACL file {name}: {error}")))?;
    let mut acl = Acl::default();
    for (n, line) in text.lines().enumerate() {
        let at = |error: Error| invalid(error.of(&format!("{name}:{}", n + 1)));
        let words = lexer::split(line).map_err(at)?;
        if !words.is_empty() {
            acl.push(AclEntry::parse(&words).map_err(at)?);
        }
    }
    Ok(acl)
}

fn serve(options: &Options, setup: Setup, socket: UdpSocket, ready: Ready) -> io::Result<ExitCode> {
    log::connect();
    privileges::confine(options.jail.as_deref(), setup.account.as_ref())?;
    let linger = if options.unbuffered { Duration::ZERO } else { sink::Options::default().linger };
    let report = Box::new(|text: &str| log::warn(format_args!("{text}")));
    let output = LogHandle::start(sink::Options { linger, ..sink::Options::default() }, report)?;
    let target = options.log.clone().map_or(Target::Stdout, Target::File);
    output
        .set(Some(target.clone()))
        .map_err(|error| io::Error::new(error.kind(), format!("cannot open log {target}: {error}")))?;
    let pid_file = options.pid_file.as_deref().map(PidFile::write).transpose()?;
    let runtime = runtime::current_thread()?;
    let code = runtime.block_on(async {
        let mut signals = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()]
            .map(signal)
            .into_iter()
            .collect::<io::Result<Vec<_>>>()?;
        let socket = AsyncSocket::from_std(socket)?;
        let here = socket.local_addr()?;
        ready.release()?;
        log::start(if options.foreground { log::Target::Stderr } else { log::Target::Syslog })?;
        log::debug(1, format_args!("receiving on {here}"));
        let server = Server {
            socket,
            merger: Merger::new(options.entries, options.hold),
            output: output.clone(),
            acl: setup.acl,
            denied: log::Condition::new(),
        };
        server.run(&mut signals, options.acl.as_deref()).await;
        Ok::<_, io::Error>(ExitCode::SUCCESS)
    })?;
    if !output.flush(PATIENCE) {
        log::error(format_args!("the log could not be written to its end"));
    }
    drop(pid_file);
    log::flush(PATIENCE);
    Ok(code)
}

struct Server {
    socket: AsyncSocket,
    merger: Merger,
    output: LogHandle,
    acl: Acl,
    denied: log::Condition,
}

impl Server {
    async fn run(mut self, signals: &mut [tokio::signal::unix::Signal], acl: Option<&Path>) {
        let [terminate, interrupt, hangup] = signals else { return };
        let mut buffer = vec![0; LARGEST];
        loop {
            let due = self.merger.next_release();
            tokio::select! {
                biased;
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hangup.recv() => self.reopen(acl),
                // A datagram first: it may be the entry that a held line waits for.
                ready = self.socket.readable() => match ready {
                    Ok(()) => self.receive(&mut buffer),
                    Err(error) => log::error(format_args!("cannot receive: {error}")),
                },
                () = until(due) => {}
            }
            let output = &self.output;
            self.merger.release_due(Instant::now(), |line| output.line(line));
        }
        self.receive(&mut buffer);
        let output = &self.output;
        self.merger.release_all(|line| output.line(line));
    }

    fn receive(&mut self, buffer: &mut [u8]) {
        let now = Instant::now();
        for _ in 0..BATCH {
            match self.socket.try_recv_from(buffer) {
                Ok((n, from)) => self.datagram(&buffer[..n], from.ip().to_canonical(), now),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // An ICMP error of something sent: nothing is ever sent, but systems differ.
                Err(error) => log::debug(1, format_args!("receive: {error}")),
            }
        }
    }

    fn datagram(&mut self, datagram: &[u8], from: IpAddr, now: Instant) {
        if !self.acl.permits(Some(from)) {
            self.denied.begin(format_args!("a datagram from {from} was refused: the ACL does not permit it"));
            return;
        }
        trace(2, datagram, format_args!("{from}"));
        let output = &self.output;
        let mut rest = datagram;
        while !rest.is_empty() {
            let end = memchr(b'\n', rest).unwrap_or(rest.len());
            if !self.merger.line(&rest[..end], from, now, |line| output.line(line)) {
                trace(
                    1,
                    &rest[..end],
                    format_args!("neither an entry of pen nor a line with a request, from {from}"),
                );
            }
            rest = rest.get(end + 1..).unwrap_or_default();
        }
    }

    fn reopen(&mut self, acl: Option<&Path>) {
        self.output.reopen();
        match acl.map(read_acl).transpose() {
            Ok(Some(acl)) => self.acl = acl,
            Ok(None) => {}
            Err(error) => log::error(format_args!("{error}; the ACL stays as it was")),
        }
    }
}

/// Logs what came, for -d.
fn trace(level: u32, bytes: &[u8], what: Arguments<'_>) {
    if log::debug_level() >= level {
        log::debug(level, format_args!("{what}: {}", bytes.trim_ascii_end().escape_ascii()));
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
