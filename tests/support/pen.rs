//! A running pen, and talking to it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Output};

use nix::sys::signal::Signal;

use super::client::Client;
use super::directory::Directory;
use super::port::reserve;
use super::process;
use super::servers::ServerLine;
use super::wait::{DEADLINE, wait_for, wait_until};

/// The pen that the tests are about: ours, or what `PEN_PROGRAM` names (to try the tests themselves on C pen).
pub(crate) fn program() -> PathBuf {
    std::env::var_os("PEN_PROGRAM").map_or_else(|| env!("CARGO_BIN_EXE_pen").into(), PathBuf::from)
}

/// Its penctl.
pub(crate) fn penctl_program() -> PathBuf {
    std::env::var_os("PENCTL_PROGRAM").map_or_else(|| env!("CARGO_BIN_EXE_penctl").into(), PathBuf::from)
}

/// Runs pen to its end, for what does not serve.
#[track_caller]
pub(crate) fn run_pen<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Output {
    assert_cmd::Command::new(program()).args(args).timeout(DEADLINE).output().unwrap()
}

/// Runs penctl to its end.
#[track_caller]
pub(crate) fn run_penctl<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Output {
    assert_cmd::Command::new(penctl_program()).args(args).timeout(DEADLINE).output().unwrap()
}

/// A TCP port on every IPv4 address that nobody but this test uses. Over UDP it may be found taken.
pub(crate) fn free_port() -> u16 {
    reserve(Ipv4Addr::UNSPECIFIED)
}

/// Whether somebody answers at a control socket.
pub(super) fn answers(control: &Path) -> bool {
    let Ok(mut stream) = UnixStream::connect(control) else { return false };
    let mut reply = String::new();
    stream.write_all(b"pid\n").is_ok() && stream.read_to_string(&mut reply).is_ok() && !reply.is_empty()
}

pub(super) fn read_pid(file: &Path) -> Option<i32> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[derive(Debug)]
pub(super) enum Process {
    Child(Child),
    Daemon(i32),
}

/// A running pen; killed when dropped. A pen that ended by itself, or panicked, fails its test then.
#[derive(Debug)]
pub(crate) struct Pen {
    /// Where it listens; of another address than 127.0.0.1 only the port is meant.
    pub(crate) address: SocketAddr,
    /// What stands for `%` in its options.
    pub(crate) second_port: u16,
    pub(super) operand: String,
    pub(super) directory: Directory,
    pub(super) process: Process,
    pub(super) may_end: bool,
}

/// Its directory.
impl Deref for Pen {
    type Target = Directory;

    fn deref(&self) -> &Directory {
        &self.directory
    }
}

impl Pen {
    /// Its process id.
    pub(crate) fn pid(&self) -> i32 {
        match &self.process {
            Process::Child(child) => i32::try_from(child.id()).unwrap(),
            Process::Daemon(pid) => *pid,
        }
    }

    /// What it said so far.
    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.file("stderr")).unwrap_or_default()).into_owned()
    }

    /// Waits until it says so.
    #[track_caller]
    pub(crate) fn says(&self, text: &str) {
        let begin = std::time::Instant::now();
        while begin.elapsed() < DEADLINE && !self.stderr().contains(text) {
            super::wait::pause();
        }
        assert!(self.stderr().contains(text), "pen was to say {text:?}, and said: {}", self.stderr());
    }

    /// Waits until it says so, with a port between the two texts.
    #[track_caller]
    pub(crate) fn says_with_port(&self, before: &str, after: &str) {
        self.says(after);
        let said = self.stderr();
        let line = said.lines().find(|line| line.contains(after)).unwrap();
        let port = line.split_once(before).and_then(|(_, rest)| rest.strip_suffix(after));
        assert!(port.is_some_and(|port| port.parse::<u16>().is_ok()), "{before}PORT{after}: {line}");
    }

    /// A client of it.
    #[track_caller]
    pub(crate) fn client(&self) -> Client {
        Client::to(self.address)
    }

    /// The client 127.0.0.`n`.
    #[track_caller]
    pub(crate) fn client_from(&self, n: u8) -> Client {
        Client::from(&format!("127.0.0.{n}"), self.address)
    }

    /// Which greeter serves the client 127.0.0.`n`; `EOF` when none does.
    #[track_caller]
    pub(crate) fn choice(&self, n: u8) -> String {
        self.hold(n).1
    }

    /// The same, and the connection, still open.
    #[track_caller]
    pub(crate) fn hold(&self, n: u8) -> (Client, String) {
        let mut client = self.client_from(n);
        let name = client.line();
        (client, if name.is_empty() { "EOF".into() } else { name })
    }

    /// Gives it so many servers, which nobody can reach.
    #[track_caller]
    pub(crate) fn has_servers(&self, count: usize) {
        let lines: String = (0..count).map(|n| format!("server {n} address 127.0.0.1 port 9\n")).collect();
        let file = self.write("many", lines);
        assert_eq!(self.control(&format!("include {file}")), "");
    }

    /// Which greeters serve these clients, one after the other.
    #[track_caller]
    pub(crate) fn choices(&self, clients: impl IntoIterator<Item = u8>) -> String {
        clients.into_iter().map(|n| self.choice(n)).collect::<Vec<_>>().join(" ")
    }

    /// Which greeters serve these clients while all of them stay.
    #[track_caller]
    pub(crate) fn choices_held(&self, clients: impl IntoIterator<Item = u8>) -> String {
        let held: Vec<_> = clients.into_iter().map(|n| self.hold(n)).collect();
        held.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>().join(" ")
    }

    /// The path of its control socket.
    pub(crate) fn control_path(&self) -> PathBuf {
        self.path().join("control")
    }

    /// Sends one line to the control socket; the whole reply.
    #[track_caller]
    pub(crate) fn control(&self, line: &str) -> String {
        let mut client = Client::to_path(&self.control_path());
        client.send(format!("{line}\n"));
        client.text()
    }

    /// The same where the command may be the last one: what came of a reply.
    pub(crate) fn try_control(&self, line: &str) -> String {
        let mut reply = Vec::new();
        if let Ok(mut stream) = UnixStream::connect(self.control_path()) {
            _ = stream.write_all(format!("{line}\n").as_bytes());
            _ = stream.set_read_timeout(Some(DEADLINE));
            _ = stream.read_to_end(&mut reply);
        }
        String::from_utf8_lossy(&reply).into_owned()
    }

    /// Whether its control socket answers.
    pub(crate) fn answers(&self) -> bool {
        answers(&self.control_path())
    }

    /// Waits until it has closed its side of every control connection.
    #[track_caller]
    pub(crate) fn has_no_control_connections(&self) {
        let path = self.control_path();
        wait_until("control connections to be closed", || {
            // An accepted socket is listed under the name of the one that listens.
            let sockets = fs::read_to_string("/proc/net/unix").unwrap();
            sockets.lines().filter(|l| l.ends_with(path.to_str().unwrap())).count() == 1
        });
    }

    /// Runs penctl on the control socket.
    #[track_caller]
    pub(crate) fn penctl(&self, command: &str) -> Output {
        let path = self.control_path();
        run_penctl([path.to_str().unwrap()].into_iter().chain(command.split_whitespace()))
    }

    /// The reply to `servers`, in fields.
    #[track_caller]
    pub(crate) fn servers(&self) -> Vec<ServerLine> {
        self.control("servers").lines().map(ServerLine::parse).collect()
    }

    /// Waits until no server has a connection.
    #[track_caller]
    pub(crate) fn becomes_idle(&self) {
        wait_until("no connections", || self.servers().iter().all(|s| s.conn == 0));
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        process::signal(self.pid(), signal);
    }

    /// It may end now: waits for it, and tells how.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> Option<ExitStatus> {
        self.may_end = true;
        match &mut self.process {
            Process::Child(child) => Some(wait_for("the end of pen", || child.try_wait().unwrap())),
            Process::Daemon(pid) => {
                wait_until("the end of pen", || !process::is_alive(*pid));
                None
            }
        }
    }

    /// Ends it with SIGTERM; its directory stays.
    #[track_caller]
    pub(crate) fn terminate(&mut self) -> Option<ExitStatus> {
        self.signal(Signal::SIGTERM);
        self.wait()
    }

    /// The listening operand that it was given.
    pub(crate) fn operand(&self) -> &str {
        &self.operand
    }

    fn has_ended(&mut self) -> bool {
        match &mut self.process {
            Process::Child(child) => !matches!(child.try_wait(), Ok(None)),
            Process::Daemon(pid) => !process::is_alive(*pid),
        }
    }
}

impl Drop for Pen {
    fn drop(&mut self) {
        let ended = self.has_ended();
        if !ended && std::thread::panicking() {
            // Lets it write what it has to say.
            self.signal(Signal::SIGTERM);
            let begin = std::time::Instant::now();
            while !self.has_ended() && begin.elapsed() < std::time::Duration::from_secs(2) {
                super::wait::pause();
            }
        }
        if !ended {
            self.signal(Signal::SIGKILL);
        }
        if let Process::Child(child) = &mut self.process {
            _ = child.wait();
        }
        let stderr = self.stderr();
        if std::thread::panicking() {
            eprintln!("pen said:\n{stderr}");
        } else {
            assert!(self.may_end || !ended, "pen ended by itself; it said: {stderr}");
            assert!(!stderr.contains("panicked at"), "pen panicked: {stderr}");
        }
    }
}
