//! Starting penlogd and penlog, and the lines that go through them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};

use nix::sys::signal::Signal;

use super::directory::{Directory, directory};
use super::{process, wait_for, wait_until};

/// Our penlogd.
pub(crate) const PENLOGD: &str = env!("CARGO_BIN_EXE_penlogd");
/// Our penlog.
pub(crate) const PENLOG: &str = env!("CARGO_BIN_EXE_penlog");
/// Our mergelogs.
pub(crate) const MERGELOGS: &str = env!("CARGO_BIN_EXE_mergelogs");

/// Runs a program to its end.
#[track_caller]
pub(crate) fn run<S: AsRef<std::ffi::OsStr>>(program: &str, args: impl IntoIterator<Item = S>) -> Output {
    assert_cmd::Command::new(program).args(args).timeout(super::wait::DEADLINE).output().unwrap()
}

/// A web server's line in the combined format.
pub(crate) fn web_line(request: &str) -> String {
    format!(r#"9.9.9.9 - - [10/Oct/2000:13:55:36 +0300] "{request}" 200 2326 "http://r/" "UA \"1\"""#)
}

/// The first line to which two programs assigned different clients, with both clients.
pub(crate) fn different(
    ours: &BTreeMap<String, String>,
    c: &BTreeMap<String, String>,
) -> Option<(String, Option<String>, Option<String>)> {
    let line = ours.keys().chain(c.keys()).find(|line| ours.get(*line) != c.get(*line))?;
    Some((line.clone(), ours.get(line).cloned(), c.get(line).cloned()))
}

/// A running penlogd in the foreground, killed when dropped.
pub(crate) struct Penlogd {
    /// The address that it receives on.
    pub(crate) address: SocketAddr,
    directory: Directory,
    child: Child,
}

impl Penlogd {
    /// Starts ours at `address` (port 0: the system picks one) with more options, and waits until it receives.
    #[track_caller]
    pub(crate) fn start(address: &str, options: &[&str]) -> Penlogd {
        Self::start_in(directory(), address, options)
    }

    /// The same, logging to the file `log` in that directory.
    #[track_caller]
    pub(crate) fn start_in(directory: Directory, address: &str, options: &[&str]) -> Penlogd {
        let path = |name: &str| directory.path().join(name);
        let child = Command::new(PENLOGD)
            .args(["-f", "-d", "-l"])
            .arg(path("log"))
            .args(options)
            .arg(address)
            .stderr(File::create(path("stderr")).unwrap())
            .spawn()
            .unwrap();
        let mut penlogd = Penlogd { address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), directory, child };
        penlogd.address = wait_for("penlogd to receive", || {
            let said = penlogd.stderr();
            assert!(penlogd.child.try_wait().unwrap().is_none(), "penlogd ended: {said}");
            let line = said.lines().find(|line| line.contains("receiving on "))?;
            // With its newline the line is complete.
            said.contains(&format!("{line}\n")).then(|| line.rsplit(' ').next().unwrap().parse().unwrap())
        });
        penlogd
    }

    /// Sends it datagrams from an address.
    pub(crate) fn send_from(&self, from: &str, datagrams: &[&str]) {
        let to: IpAddr = if from.contains(':') { "::1".parse().unwrap() } else { Ipv4Addr::LOCALHOST.into() };
        let socket = UdpSocket::bind((from, 0)).unwrap();
        for datagram in datagrams {
            socket.send_to(datagram.as_bytes(), (to, self.address.port())).unwrap();
        }
    }

    /// A file in its directory.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Its log so far.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.file("log")).unwrap_or_default()).into_owned()
    }

    /// Its messages so far.
    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(self.file("stderr")).unwrap_or_default()
    }

    /// Waits until it has logged this many lines; returns them.
    #[track_caller]
    pub(crate) fn lines(&self, count: usize) -> Vec<String> {
        // Who reads while penlogd writes may see a part of the last one.
        let is_whole = |log: &String| log.lines().count() >= count && log.ends_with('\n');
        let log = wait_for(&format!("{count} lines in the log"), || Some(self.log()).filter(is_whole));
        log.lines().map(str::to_owned).collect()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        process::signal(i32::try_from(self.child.id()).unwrap(), signal);
    }

    /// Ends it with TERM; returns its directory.
    #[track_caller]
    pub(crate) fn terminate(mut self) -> Directory {
        self.signal(Signal::SIGTERM);
        assert!(self.child.wait().unwrap().success(), "{}", self.stderr());
        std::mem::replace(&mut self.directory, directory())
    }
}

impl Drop for Penlogd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A running penlog, killed when dropped.
pub(crate) struct Penlog {
    input: Option<ChildStdin>,
    stderr: PathBuf,
    child: Child,
    _directory: Directory,
}

impl Penlog {
    /// Starts it with a pipe, or with `input`, as its standard input.
    pub(crate) fn start(args: &[&str], input: Option<&Path>) -> Penlog {
        let directory = directory();
        let stderr = directory.path().join("stderr");
        let stdin = match input {
            // Both ends of a FIFO, so that it never ends.
            Some(fifo) => File::options().read(true).write(true).open(fifo).unwrap().into(),
            None => Stdio::piped(),
        };
        let mut command = Command::new(PENLOG);
        let mut child =
            command.args(args).stdin(stdin).stderr(File::create(&stderr).unwrap()).spawn().unwrap();
        Penlog { input: child.stdin.take(), stderr, child, _directory: directory }
    }

    /// Writes lines to its input.
    pub(crate) fn write(&mut self, lines: impl AsRef<[u8]>) {
        self.input.as_mut().unwrap().write_all(lines.as_ref()).unwrap();
    }

    /// Its messages so far.
    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap_or_default()
    }

    /// Ends its input and waits for its end.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        self.input = None;
        self.wait()
    }

    /// Waits for its end.
    pub(crate) fn wait(mut self) -> (ExitStatus, String) {
        // `Child::wait` would close its input.
        let input = self.input.take();
        let status = self.child.wait().unwrap();
        drop(input);
        (status, self.stderr())
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        process::signal(self.pid(), signal);
    }

    /// Waits until its signal handlers are installed.
    #[track_caller]
    pub(crate) fn wait_until_it_handles_signals(&self) {
        // It takes over one after the other.
        let ending =
            [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM].map(|signal| 1_u64 << (signal as u32 - 1));
        let all = ending.into_iter().sum::<u64>();
        let catches = |mask: String| u64::from_str_radix(&mask, 16).is_ok_and(|mask| mask & all == all);
        wait_until("penlog's signal handlers", || process::status(self.pid(), "SigCgt").is_some_and(catches));
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }
}

impl Drop for Penlog {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
