//! Starting pen.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use super::backend::Backend;
use super::directory::{Directory, directory};
use super::pen::{Pen, Process, answers, free_port, program, read_pid};
use super::port::reserve_datagrams;
use super::wait::wait_for;

/// The parameters for starting a pen.
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
    /// The path of the pid file for the test, and the one given to pen; they differ in a jail.
    pid_file: Option<(PathBuf, String)>,
    directory: Directory,
}

/// Its directory, which contains the control socket and the pid file.
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

    /// Uses another program than [`program`].
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

    /// Adds a server as on the command line.
    pub(crate) fn server(mut self, operand: impl ToString) -> Self {
        self.operands.push(operand.to_string());
        self
    }

    /// Adds servers.
    pub(crate) fn servers<'a>(self, servers: impl IntoIterator<Item = &'a Backend>) -> Self {
        servers.into_iter().fold(self, |setup, backend| setup.server(backend.address()))
    }

    /// Listens there instead of on 127.0.0.1; `%` stands for a port that the system picks.
    pub(crate) fn listen(mut self, address: impl ToString) -> Self {
        self.listen = Some(address.to_string());
        self
    }

    /// If the port is taken, the test did it on purpose, and the start is not tried again.
    pub(crate) fn fixed_port(mut self) -> Self {
        self.fixed_port = true;
        self
    }

    /// Runs pen through another program, such as `prlimit --nofile=64`.
    pub(crate) fn wrapper(mut self, wrapper: &str) -> Self {
        self.wrapper = wrapper.split_whitespace().map(str::to_owned).collect();
        self
    }

    /// Sets an environment variable.
    pub(crate) fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Omits the `-u root` that allows root to have a control socket.
    pub(crate) fn no_user(mut self) -> Self {
        self.user = false;
        self
    }

    /// Does not wait for the control socket to answer, since the test uses another path.
    pub(crate) fn no_probe(mut self) -> Self {
        self.probe = false;
        self
    }

    /// Lets it move to the background.
    pub(crate) fn daemon(mut self) -> Self {
        self.daemon = true;
        self
    }

    /// Uses another pid file: its path for the test, and the one given to pen.
    pub(crate) fn pid_file(mut self, found: &Path, told: &str) -> Self {
        self.pid_file = Some((found.to_owned(), told.to_owned()));
        self
    }

    /// Starts it and waits until it serves.
    #[track_caller]
    pub(crate) fn start(self) -> Pen {
        self.try_start().unwrap_or_else(|failure| panic!("pen does not start: {failure:?}"))
    }

    /// Starts it, and waits until it serves or has ended.
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
                // Another process got the port first.
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

    /// A port for the listening address, on every IPv4 address.
    fn port(&self) -> u16 {
        let is_udp = self.options.iter().any(|option| option == "-U");
        if is_udp { reserve_datagrams(Ipv4Addr::UNSPECIFIED.into()) } else { free_port() }
    }

    fn attempt(&self) -> Attempt {
        let path = |name: &str| self.path().join(name);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port()));
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
        // Files that it leaves behind, such as a core file, are removed with the directory.
        command.current_dir(self.path()).stdin(Stdio::null());
        command.stdout(File::create(path("stdout")).unwrap()).stderr(File::create(&stderr).unwrap());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{}: {e}", words[0].display()));
        let process = if self.daemon {
            let status = child.wait().unwrap();
            status.success().then(|| read_pid(&pid_file).map(Process::Daemon)).flatten().ok_or(status)
        } else {
            wait_for("pen to serve or to end", || match child.try_wait().unwrap() {
                Some(status) => Some(Err(status)),
                // A pen that answers has also installed its signal handlers.
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

impl Failure {
    fn is_of_a_taken_port(&self) -> bool {
        // The second text is that of C pen.
        ["in use", "can't bind local address"].iter().any(|text| self.stderr.contains(text))
    }
}
