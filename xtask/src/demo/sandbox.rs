//! The Solaris demo outside the sandbox: builds the package, and runs the demo again where it can be installed.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::interrupt::Interrupt;
use super::story::{step, tell};
use super::{Options, front};
use crate::Result;
use crate::workspace::{self, Workspace};

/// How long the process inside may take to clean up.
const PATIENCE: Duration = Duration::from_secs(60);

/// The line that the process inside prints once the demo serves until an interrupt.
pub(super) const SERVING: &str = "@serving";

/// Builds SUNWpen from the programs in `bin` and returns its datastream.
///
/// # Errors
/// The package cannot be built.
pub(super) fn make_package(workspace: &Workspace, bin: &Path, output: &Path) -> Result<PathBuf> {
    step("Making the package SUNWpen");
    let root = crate::fill_proto_area(workspace, &output.join("proto"), Some(bin))?;
    let stream = crate::package(workspace, None, None, &root, output)?;
    tell(&format!("{}: {} bytes", stream.display(), std::fs::metadata(&stream)?.len()));
    Ok(stream)
}

/// Whether this machine has the commands of Solaris.
pub(super) fn is_solaris() -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|directory| directory.join("svcadm").is_file()))
}

/// The script that runs a command in the sandbox, with the stand-ins built; or why a sandbox is impossible.
///
/// # Errors
/// The reason, in one line.
pub(super) fn available(workspace: &Workspace) -> std::result::Result<Command, String> {
    let mut build = workspace.command(workspace::cargo());
    build.args(["build", "--quiet", "--locked", "--package", "pen-testbed"]);
    if !build.status().is_ok_and(|status| status.success()) {
        return Err("the stand-ins for Solaris's commands cannot be built".into());
    }
    let script = || {
        let mut command = workspace.command("sh");
        command.arg("testbed/sandbox.sh").arg("-b").arg(workspace.target.join("debug"));
        command
    };
    match script().arg("true").output() {
        Ok(output) if output.status.success() => Ok(script()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            Err(said.lines().last().unwrap_or("it does not start").to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}

/// Runs the demo in the sandbox. The port that users connect to is bound outside and passed in.
///
/// # Errors
/// The process inside fails.
pub(super) fn run(
    mut sandbox: Command,
    package: &Path,
    options: &Options,
    interrupt: &Interrupt,
) -> Result<()> {
    let listener = TcpListener::bind(front()?)?;
    sandbox.arg(std::env::current_exe()?).args(["demo", "--inside"]).arg(package);
    sandbox.args(options.once.then_some("--once"));
    sandbox.stdin(Stdio::from(OwnedFd::from(listener.try_clone()?))).stdout(Stdio::piped());
    // In its own process group: we pass an interrupt on, so that the inside receives it exactly once.
    let mut child = sandbox.process_group(0).spawn()?;
    let lines = relay(&mut child, listener);
    let mut asked: Option<Instant> = None;
    // Nothing is ever sent: the channel closes when the process inside has closed its output.
    while lines.recv_timeout(Duration::from_millis(100)) != Err(RecvTimeoutError::Disconnected) {
        if interrupt.came_within(Duration::ZERO) {
            asked.get_or_insert_with(Instant::now);
            // Not SIGINT, which the waiting shell would turn into a failure.
            killpg(Pid::from_raw(i32::try_from(child.id())?), Signal::SIGTERM)?;
        }
        if asked.is_some_and(|since| since.elapsed() > PATIENCE) {
            child.kill()?;
        }
    }
    match child.wait()? {
        status if status.success() => Ok(()),
        status => Err(format!("the demo in the sandbox failed: {status}").into()),
    }
}

/// Prints the output of the process inside; the channel closes when it ends.
fn relay(child: &mut Child, listener: TcpListener) -> mpsc::Receiver<()> {
    let (sender, receiver) = mpsc::channel();
    let (id, stdout) = (child.id(), child.stdout.take());
    thread::spawn(move || {
        for line in stdout.into_iter().flat_map(|out| BufReader::new(out).lines()).map_while(|line| line.ok())
        {
            if line == SERVING {
                hints(&listener, id);
            } else {
                println!("{line}");
            }
        }
        drop(sender);
    });
    receiver
}

/// Hints for the user while pen serves.
fn hints(listener: &TcpListener, id: u32) {
    step("The service goes on until you interrupt it (^C). Try, in another terminal:");
    if let Ok(address) = listener.local_addr() {
        tell(&format!("curl http://{address}/"));
    }
    // The first process inside is the child of unshare(1), which is our child.
    let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    if let Some(first) = children.split_whitespace().next() {
        let user = if nix::unistd::geteuid().is_root() { "" } else { "-U --preserve-credentials " };
        let enter = format!("nsenter -t {first} {user}-m -n -p");
        tell(&format!("{enter} svcs -p pen:default"));
        tell(&format!("{enter} penctl /var/run/pen/default/control servers"));
    }
}
