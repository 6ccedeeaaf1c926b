//! Starting pen and talking to it.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use nix::sys::signal::Signal;

use super::backend::Backend;
use super::client::Client;
use super::directory::{Directory, directory};
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

/// How to start a pen.
pub(crate) struct Setup {
    program: PathBuf,
    wrapper: Vec<String>,
    options: Vec<String>,
    operands: Vec<String>,
    environment: Vec<(String, String)>,
    listen: Option<String>,
    fixed_port: bool,
    second_port: u16,
    user: bool,
    probe: bool,
    daemon: bool,
    /// Where the test finds the pid file, and what pen is told, which differ in a jail.
    pid_file: Option<(PathBuf, String)>,
    directory: Directory,
}

/// Its directory, that of the control socket and of the pid file.
impl Deref for Setup {
    type Target = Directory;

    fn deref(&self) -> &Directory {
        &self.directory
    }
}

impl Setup {
    /// A pen in the foreground on a free port of 127.0.0.1, with a control socket and a pid file.
    pub(crate) fn new() -> Setup {
        Setup {
            program: program(),
            wrapper: Vec::new(),
            options: Vec::new(),
            operands: Vec::new(),
            environment: Vec::new(),
            listen: None,
            fixed_port: false,
            second_port: 0,
            user: true,
            probe: true,
            daemon: false,
            pid_file: None,
            directory: directory(),
        }
    }

    /// Another program than [`program`].
    pub(crate) fn program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = program.into();
        self
    }

    /// Adds options, split at blanks; `%` stands for another port that the system picks.
    pub(crate) fn options(mut self, options: impl AsRef<str>) -> Self {
        self.options.extend(options.as_ref().split_whitespace().map(str::to_owned));
        self
    }

    /// Adds one option with an argument that may hold blanks.
    pub(crate) fn option(mut self, option: &str, argument: impl AsRef<str>) -> Self {
        self.options.extend([option.to_owned(), argument.as_ref().to_owned()]);
        self
    }

    /// Adds a command of the control language, run at start.
    pub(crate) fn command(self, command: impl AsRef<str>) -> Self {
        self.option("-O", command)
    }

    /// Adds a server as it stands on the command line.
    pub(crate) fn server(mut self, operand: impl ToString) -> Self {
        self.operands.push(operand.to_string());
        self
    }

    /// Adds servers.
    pub(crate) fn servers<'a>(self, servers: impl IntoIterator<Item = &'a Backend>) -> Self {
        servers.into_iter().fold(self, |setup, backend| setup.server(backend.address()))
    }

    /// Listens there instead of at 127.0.0.1; `%` stands for a port that the system picks.
    pub(crate) fn listen(mut self, address: impl ToString) -> Self {
        self.listen = Some(address.to_string());
        self
    }

    /// A port that is taken is the test's own doing, not to be tried again.
    pub(crate) fn fixed_port(mut self) -> Self {
        self.fixed_port = true;
        self
    }

    /// Runs pen by way of another program, such as `prlimit --nofile=64`.
    pub(crate) fn wrapper(mut self, wrapper: &str) -> Self {
        self.wrapper = wrapper.split_whitespace().map(str::to_owned).collect();
        self
    }

    /// Sets a variable of its environment.
    pub(crate) fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Leaves out the `-u root` that lets root have a control socket.
    pub(crate) fn no_user(mut self) -> Self {
        self.user = false;
        self
    }

    /// Does not wait for the control socket to answer: the test puts it elsewhere.
    pub(crate) fn no_probe(mut self) -> Self {
        self.probe = false;
        self
    }

    /// Lets it go to the background.
    pub(crate) fn daemon(mut self) -> Self {
        self.daemon = true;
        self
    }

    /// Puts the pid file elsewhere: where the test finds it, and what pen is told.
    pub(crate) fn pid_file(mut self, found: &Path, told: &str) -> Self {
        self.pid_file = Some((found.to_owned(), told.to_owned()));
        self
    }

    /// Starts it and waits until it serves.
    #[track_caller]
    pub(crate) fn start(self) -> Pen {
        self.try_start().unwrap_or_else(|failure| panic!("pen does not start: {failure:?}"))
    }

    /// Starts it, and waits until it serves or is gone.
    pub(crate) fn try_start(mut self) -> Result<Pen, Failure> {
        let mut tries = 5;
        loop {
            self.second_port = free_port();
            match self.attempt() {
                Attempt::Serves(address, process) => {
                    let (operand, second_port) = (self.operand(address), self.second_port);
                    return Ok(Pen {
                        address,
                        operand,
                        second_port,
                        directory: self.directory,
                        process,
                        may_end: false,
                    });
                }
                // Somebody else got the port first.
                Attempt::Failed(failure) if tries > 0 && !self.fixed_port && failure.is_of_a_taken_port() => {
                    tries -= 1;
                }
                Attempt::Failed(failure) => return Err(failure),
            }
        }
    }

    /// Whether the control socket answers, if there is to be one.
    fn answers(&self) -> bool {
        !self.probe || (!self.user && super::is_root()) || answers(&self.path().join("control"))
    }

    fn operand(&self, address: SocketAddr) -> String {
        self.listen
            .as_ref()
            .map_or_else(|| address.to_string(), |l| l.replace('%', &address.port().to_string()))
    }

    fn attempt(&self) -> Attempt {
        let path = |name: &str| self.path().join(name);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let stderr = path("stderr");
        let default = || (path("pid"), path("pid").to_str().unwrap().to_owned());
        let (pid_file, told) = self.pid_file.clone().unwrap_or_else(default);
        let words = self.wrapper.iter().map(PathBuf::from).chain([self.program.clone()]).collect::<Vec<_>>();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args((!self.daemon).then_some("-f"));
        command.arg("-C").arg(path("control")).arg("-p").arg(told);
        if self.user && super::is_root() {
            command.args(["-u", "root"]);
        }
        command.args(self.options.iter().map(|o| o.replace('%', &self.second_port.to_string())));
        command.arg(self.operand(address));
        command.args(&self.operands);
        command.envs(self.environment.iter().map(|(n, v)| (n, v)));
        // Whatever it leaves behind, such as a core file, goes with the directory.
        command.current_dir(self.path()).stdin(Stdio::null());
        command.stdout(File::create(path("stdout")).unwrap()).stderr(File::create(&stderr).unwrap());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{}: {e}", words[0].display()));
        let process = if self.daemon {
            let status = child.wait().unwrap();
            status.success().then(|| read_pid(&pid_file).map(Process::Daemon)).flatten().ok_or(status)
        } else {
            wait_for("pen to serve or to end", || match child.try_wait().unwrap() {
                Some(status) => Some(Err(status)),
                // Who answers has also set up its signals.
                None => (read_pid(&pid_file).is_some() && self.answers()).then_some(Ok(())),
            })
            .map(|()| Process::Child(child))
        };
        match process {
            Ok(process) => Attempt::Serves(address, process),
            Err(status) => {
                Attempt::Failed(Failure { status, stderr: fs::read_to_string(&stderr).unwrap_or_default() })
            }
        }
    }
}

enum Attempt {
    Serves(SocketAddr, Process),
    Failed(Failure),
}

/// A pen that did not start.
#[derive(Debug)]
pub(crate) struct Failure {
    /// How it ended.
    pub(crate) status: ExitStatus,
    /// What it said.
    pub(crate) stderr: String,
}

/// Whether somebody answers at a control socket.
fn answers(control: &Path) -> bool {
    let Ok(mut stream) = UnixStream::connect(control) else { return false };
    let mut reply = String::new();
    stream.write_all(b"pid\n").is_ok() && stream.read_to_string(&mut reply).is_ok() && !reply.is_empty()
}

impl Failure {
    fn is_of_a_taken_port(&self) -> bool {
        // The second is what C pen says.
        ["in use", "can't bind local address"].iter().any(|text| self.stderr.contains(text))
    }
}

fn read_pid(file: &Path) -> Option<i32> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[derive(Debug)]
enum Process {
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
    operand: String,
    directory: Directory,
    process: Process,
    may_end: bool,
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
