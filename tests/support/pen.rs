//! A running pen, and communication with it.

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

/// The pen under test: ours, or the program in `PEN_PROGRAM` (to try the tests themselves on C pen).
pub(crate) fn program() -> PathBuf {
    std::env::var_os("PEN_PROGRAM").map_or_else(|| env!("CARGO_BIN_EXE_pen").into(), PathBuf::from)
}

/// Its penctl.
pub(crate) fn penctl_program() -> PathBuf {
    std::env::var_os("PENCTL_PROGRAM").map_or_else(|| env!("CARGO_BIN_EXE_penctl").into(), PathBuf::from)
}

/// Runs pen to its end, for command lines that do not serve.
#[track_caller]
pub(crate) fn run_pen<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Output {
    assert_cmd::Command::new(program()).args(args).timeout(DEADLINE).output().unwrap()
}

/// Runs penctl to its end.
#[track_caller]
pub(crate) fn run_penctl<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Output {
    assert_cmd::Command::new(penctl_program()).args(args).timeout(DEADLINE).output().unwrap()
}

/// A TCP port on every IPv4 address that only this test uses.
pub(crate) fn free_port() -> u16 {
    reserve(Ipv4Addr::UNSPECIFIED)
}

/// Whether a control socket answers.
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

/// A running pen; killed when dropped. If pen has ended by itself, or panicked, the test fails then.
#[derive(Debug)]
pub(crate) struct Pen {
    /// Its listening address; for addresses other than 127.0.0.1 only the port is significant.
    pub(crate) address: SocketAddr,
    /// The port that replaces `%` in its options.
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

    /// Its messages so far.
    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.file("stderr")).unwrap_or_default()).into_owned()
    }

    /// Waits for a message that contains this text.
    #[track_caller]
    pub(crate) fn says(&self, text: &str) {
        let begin = std::time::Instant::now();
        while begin.elapsed() < DEADLINE && !self.stderr().contains(text) {
            super::wait::pause();
        }
        assert!(self.stderr().contains(text), "pen was to say {text:?}, and said: {}", self.stderr());
    }

    /// Waits for a message with a port between the two texts.
    #[track_caller]
    pub(crate) fn says_with_port(&self, before: &str, after: &str) {
        self.says(after);
        let said = self.stderr();
        let line = said.lines().find(|line| line.contains(after)).unwrap();
        let port = line.split_once(before).and_then(|(_, rest)| rest.strip_suffix(after));
        assert!(port.is_some_and(|port| port.parse::<u16>().is_ok()), "{before}PORT{after}: {line}");
    }

    /// A client connected to it.
    #[track_caller]
    pub(crate) fn client(&self) -> Client {
        Client::to(self.address)
    }

    /// The client 127.0.0.`n`.
    #[track_caller]
    pub(crate) fn client_from(&self, n: u8) -> Client {
        Client::from(&format!("127.0.0.{n}"), self.address)
    }

    /// The greeter that serves the client 127.0.0.`n`; `EOF` if none does.
    #[track_caller]
    pub(crate) fn choice(&self, n: u8) -> String {
        self.hold(n).1
    }

    /// The same with the connection, which stays open.
    #[track_caller]
    pub(crate) fn hold(&self, n: u8) -> (Client, String) {
        let mut client = self.client_from(n);
        let name = client.line();
        (client, if name.is_empty() { "EOF".into() } else { name })
    }

    /// Adds this many unreachable servers.
    #[track_caller]
    pub(crate) fn has_servers(&self, count: usize) {
        let lines: String = (0..count).map(|n| format!("server {n} address 127.0.0.1 port 9\n")).collect();
        let file = self.write("many", lines);
        assert_eq!(self.control(&format!("include {file}")), "");
    }

    /// The greeters that serve these clients, one after the other.
    #[track_caller]
    pub(crate) fn choices(&self, clients: impl IntoIterator<Item = u8>) -> String {
        clients.into_iter().map(|n| self.choice(n)).collect::<Vec<_>>().join(" ")
    }

    /// The greeters that serve these clients while all of them stay connected.
    #[track_caller]
    pub(crate) fn choices_held(&self, clients: impl IntoIterator<Item = u8>) -> String {
        let held: Vec<_> = clients.into_iter().map(|n| self.hold(n)).collect();
        held.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>().join(" ")
    }

    /// The path of its control socket.
    pub(crate) fn control_path(&self) -> PathBuf {
        self.path().join("control")
    }

    /// Sends one line to the control socket; returns the complete reply.
    #[track_caller]
    pub(crate) fn control(&self, line: &str) -> String {
        let mut client = Client::to_path(&self.control_path());
        client.send(format!("{line}\n"));
        client.text()
    }

    /// The same for a command that may end pen: the reply as far as it was received.
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
            // An accepted socket is listed under the name of the listening one.
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

    /// Expects it to end: waits and returns its status.
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

    /// Ends it with SIGTERM; its directory is kept.
    #[track_caller]
    pub(crate) fn terminate(&mut self) -> Option<ExitStatus> {
        self.signal(Signal::SIGTERM);
        self.wait()
    }

    /// The listening operand given to it.
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
            // Lets it write its last messages.
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
