//! Contenders, server and client as processes that never outlive the bench.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::contender::{Contender, Front, Role, Setup};
use crate::load::{self, Outcome, Task, Tls, Work};
use crate::procfs;
use crate::rows::Row;
use crate::watch::{self, Crowd, Watch};

/// How long a start or an end may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The arguments after `pen-bench hold`: a program that must die with its parent.
pub(crate) fn hold(args: &[String]) -> Result<(), String> {
    let [program, args @ ..] = args else { return Err("hold: no program".into()) };
    nix::sys::prctl::set_pdeathsig(Signal::SIGTERM).map_err(|e| format!("prctl: {e}"))?;
    Err(format!("{program}: {}", Command::new(program).args(args).exec()))
}

fn held(command: &Command) -> Result<Command, String> {
    let mut held = myself()?;
    held.arg("hold").arg(command.get_program()).args(command.get_args());
    held.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    held.stdin(Stdio::null());
    Ok(held)
}

/// This program with other arguments; it must die with its parent.
pub(crate) fn held_self(args: &[&str]) -> Result<Command, String> {
    let mut own = myself()?;
    own.args(args);
    held(&own)
}

/// Waits until `ready` is true.
pub(crate) fn wait_for(what: &str, ready: impl Fn() -> bool) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    while !ready() {
        if Instant::now() > deadline {
            return Err(format!("waited in vain for {what}"));
        }
        pause();
    }
    Ok(())
}

/// Waits until a scheduled time.
pub(crate) fn sleep_until(moment: Instant) {
    while let Some(rest) = moment.checked_duration_since(Instant::now()).filter(|rest| !rest.is_zero()) {
        let millis = u16::try_from(rest.as_millis().max(1)).unwrap_or(u16::MAX);
        let _ = nix::poll::poll(&mut [], millis);
    }
}

/// The file of this program, which is also the server, the client and more.
pub(crate) fn own_program() -> Result<PathBuf, String> {
    std::env::current_exe().map_err(|e| format!("own program: {e}"))
}

fn myself() -> Result<Command, String> {
    own_program().map(Command::new)
}

/// The bench's own server.
pub(crate) struct Backend {
    child: Child,
    pub(crate) addr: SocketAddr,
    /// Where sessions of TLS can be resumed, if it speaks TLS.
    pub(crate) resuming: Option<SocketAddr>,
}

impl Backend {
    pub(crate) fn start() -> Result<Self, String> {
        Self::run(&["backend"])
    }

    /// The one that speaks TLS, with a certificate and its key.
    pub(crate) fn start_tls(pair: &Path) -> Result<Self, String> {
        Self::run(&["tls-backend", &pair.to_string_lossy()])
    }

    fn run(args: &[&str]) -> Result<Self, String> {
        let mut child =
            held_self(args)?.stdout(Stdio::piped()).spawn().map_err(|e| format!("server: {e}"))?;
        let mut line = String::new();
        let stdout = child.stdout.take().ok_or("server: no stdout")?;
        BufReader::new(stdout).read_line(&mut line).map_err(|e| format!("server: {e}"))?;
        let mut ports = line.split_whitespace().map_while(|port| port.parse().ok());
        let port: u16 = ports.next().ok_or("server: did not tell its port")?;
        let resuming = ports.next().map(|port: u16| (Ipv4Addr::LOCALHOST, port).into());
        Ok(Backend { child, addr: (Ipv4Addr::LOCALHOST, port).into(), resuming })
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        end(&mut self.child, &[]);
    }
}

/// A contender that answers.
pub(crate) struct Running {
    child: Option<Child>,
    pub(crate) addr: SocketAddr,
    pub(crate) pids: Vec<u32>,
    crowd: Option<Crowd>,
    control: PathBuf,
    admin: PathBuf,
}

impl Running {
    /// Starts `who` and waits until a request through it is answered. The error is the reason to skip it.
    pub(crate) fn start(
        setup: &Setup,
        who: &Contender,
        port: u16,
        row: &Row,
        tls: Option<&Tls>,
    ) -> Result<Self, String> {
        let work = row.work;
        let front = match tls {
            Some(_) => Front::Tls,
            None if work.is_udp() => Front::Udp { once: work == Work::Question },
            None => Front::Tcp,
        };
        let Some(command) = setup.command(who, port, front, &setup.server(row.server_tls)?)? else {
            return Ok(Running {
                child: None,
                addr: setup.backend,
                pids: Vec::new(),
                crowd: None,
                control: PathBuf::new(),
                admin: PathBuf::new(),
            });
        };
        let mut running = Self::spawn(&command, &setup.dir, port, work.is_udp(), tls)?;
        running.control = setup.control(port);
        if who.role == Role::Crowded {
            running.admin = setup.admin(port);
            watch::answers(&running.admin)?;
            running.crowd = Some(Crowd::gather(running.addr, &running.control, setup.clients)?);
        }
        if let (Role::Holding(count), SocketAddr::V4(addr)) = (who.role, running.addr) {
            running.crowd = Some(Crowd::hold(addr, &running.control, count.into())?);
        }
        Ok(running)
    }

    /// Starts `command`, which serves plain TCP or UDP on `port`, and waits until a request through it is answered.
    pub(crate) fn serve(command: &Command, dir: &Path, port: u16, udp: bool) -> Result<Self, String> {
        Self::spawn(command, dir, port, udp, None)
    }

    fn spawn(command: &Command, dir: &Path, port: u16, udp: bool, tls: Option<&Tls>) -> Result<Self, String> {
        let errors = dir.join(format!("stderr-{port}"));
        let file = File::create(&errors).map_err(|e| format!("{}: {e}", errors.display()))?;
        let mut command = held(command)?;
        let child = command.stdout(Stdio::null()).stderr(file).spawn().map_err(|e| e.to_string())?;
        let addr = (Ipv4Addr::LOCALHOST, port).into();
        let mut running = Running {
            pids: vec![child.id()],
            child: Some(child),
            addr,
            crowd: None,
            control: PathBuf::new(),
            admin: PathBuf::new(),
        };
        running.wait(udp, tls, &errors)?;
        running.pids = procfs::tree(running.pids[0]);
        Ok(running)
    }

    /// A second handle on the same process, which ends with the first.
    pub(crate) fn again(&self) -> Self {
        Running {
            child: None,
            addr: self.addr,
            pids: self.pids.clone(),
            crowd: None,
            control: self.control.clone(),
            admin: self.admin.clone(),
        }
    }

    /// Starts to query it as `role` is queried, until the result is dropped.
    pub(crate) fn watch(&self, role: Role) -> Option<Watch> {
        match role {
            Role::Watched => Some(Watch::start(&self.control)),
            Role::Asked => Some(Watch::ask(&self.admin)),
            _ => None,
        }
    }

    fn wait(&mut self, udp: bool, tls: Option<&Tls>, errors: &Path) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let Err(why) = load::probe(self.addr, udp, tls) else { return Ok(()) };
            let ended = self.child.as_mut().and_then(|c| c.try_wait().ok().flatten());
            if let Some(status) = ended {
                return Err(format!("{status}: {}", last_line(errors)));
            }
            if Instant::now() > deadline {
                return Err(format!("gives no service: {why}; {}", last_line(errors)));
            }
            pause();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            end(child, &self.pids);
        }
    }
}

/// Asks a child to end, then kills it and `others`.
fn end(child: &mut Child, others: &[u32]) {
    // An error here means that the process has already ended.
    let signal = |pid: u32, signal| {
        let _ = kill(Pid::from_raw(pid as i32), signal);
    };
    if !matches!(child.try_wait(), Ok(None)) {
        return;
    }
    signal(child.id(), Signal::SIGTERM);
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        pause();
    }
    others.iter().for_each(|&pid| signal(pid, Signal::SIGKILL));
    signal(child.id(), Signal::SIGKILL);
    let _ = child.wait();
}

/// A contender does not signal that it is ready or has ended, so it is polled every few milliseconds.
pub(crate) fn pause() {
    let _ = nix::poll::poll(&mut [], 5u16);
}

fn last_line(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().rfind(|l| !l.trim().is_empty()).unwrap_or("nothing on stderr").trim().to_owned()
}

/// Runs a client for one round.
pub(crate) fn drive(task: &Task) -> Result<Outcome, String> {
    let mut own = myself()?;
    own.arg("load").args(task.to_args());
    let out = held(&own)?.output().map_err(|e| format!("client: {e}"))?;
    if !out.status.success() {
        let why = String::from_utf8_lossy(&out.stderr);
        return Err(why.trim().trim_start_matches("pen-bench: ").to_owned());
    }
    String::from_utf8_lossy(&out.stdout).parse()
}
