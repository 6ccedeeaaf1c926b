//! Pen the Solaris way: package, service, requests, and all of it gone again.
//!
//! Where there is no svcadm, this program runs itself once more in the sandbox of testbed/, whose stand-ins have the names
//! of Solaris's commands; what is shown inside is what an administrator types on Solaris.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::interrupt::Interrupt;
use super::server::Server;
use super::story::{self, shown, step, tell};
use crate::Result;

/// What sandbox.sh exits with when there can be none.
const NO_SANDBOX: i32 = 125;

/// Whether the commands of Solaris are here under their own names.
fn native() -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|directory| directory.join("svcadm").is_file()))
}

/// Makes the package of the programs in `bin` and shows it, in a sandbox where need be. False where none can be made.
///
/// # Errors
/// See [`inside`].
pub(super) fn run(top: &Path, bin: &Path, once: bool, interrupt: &Interrupt) -> Result<bool> {
    let sandbox = || {
        let mut command = Command::new("sh");
        let built = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| top.join("target"), PathBuf::from);
        command.arg(top.join("testbed/sandbox.sh")).arg("-b").arg(built.join("debug"));
        command
    };
    if !native() {
        step("Building the stand-ins for Solaris's commands");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let build = ["build", "--quiet", "--locked", "--package", "pen-testbed"];
        if !Command::new(cargo).current_dir(top).args(build).status()?.success() {
            return Err("cargo build failed".into());
        }
        let tried = sandbox().arg("true").stdout(Stdio::null()).output()?;
        if tried.status.code() == Some(NO_SANDBOX) {
            tell(&format!("no sandbox is possible here: {}", String::from_utf8_lossy(&tried.stderr).trim()));
            return Ok(false);
        }
    }

    let place = tempfile::tempdir()?;
    step("The package is made");
    let root = crate::fill_proto_area(top, &place.path().join("proto"), Some(bin))?;
    let made = crate::package(top, crate::ISA, &root, place.path())?;
    tell(&format!("{}: {} bytes", made.display(), fs::metadata(&made)?.len()));
    if native() {
        return inside(&made, once, interrupt).map(|()| true);
    }
    step(
        "A sandbox is entered: private namespaces over an overlay of /, with stand-ins for Solaris's commands",
    );
    let mut again = sandbox();
    again.arg(std::env::current_exe()?).arg("demo").arg("--inside").arg(&made);
    if once {
        again.arg("--once");
    }
    let mut child = again.stdin(Stdio::piped()).process_group(0).spawn()?;
    let mut words = child.stdin.take();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if interrupt.came_within(Duration::from_millis(50)) {
            // The end of its input.
            words = None;
        }
    };
    drop(words);
    if status.success() { Ok(true) } else { Err("the demo failed in the sandbox".into()) }
}

/// Installs the package, enables the service, balances requests, and takes it all away.
///
/// # Errors
/// The first command that fails, and what [`story::run`] finds.
pub(super) fn inside(package: &Path, once: bool, interrupt: &Interrupt) -> Result<()> {
    let mut servers = [Server::start("A")?, Server::start("B")?];
    let place = tempfile::tempdir()?;
    // See admin(4): nobody is there to be asked.
    let admin = place.path().join("admin");
    fs::write(&admin, "instance=overwrite\nidepend=nocheck\naction=nocheck\nbasedir=default\n")?;

    step("The package is installed");
    show(Command::new("pkgadd").args(["-n", "-a"]).arg(&admin).arg("-d").arg(package).arg("SUNWpen"))?;
    show(Command::new("pkgchk").arg("SUNWpen"))?;

    step("Its service is configured and enabled");
    let [a, b] = [servers[0].address.port(), servers[1].address.port()];
    let configuration = format!(
        "listen 80\nroundrobin\nhttp\nblacklist 1\nserver 0 address 127.0.0.1 port {a}\nserver 1 address 127.0.0.1 port {b}\n"
    );
    tell("/etc/pen/pen.conf:");
    configuration.lines().for_each(|line| tell(&format!("    {line}")));
    fs::write("/etc/pen/pen.conf", configuration)?;
    show(Command::new("svcadm").args(["enable", "-s", "pen"]))?;
    show(Command::new("svcs").args(["-p", "pen"]))?;

    let front = SocketAddr::from((Ipv4Addr::LOCALHOST, 80));
    story::run(front, &mut servers, interrupt)?;
    step("What pen says of its servers");
    show(Command::new("penctl").args(["/var/run/pen/default/control", "servers"]))?;

    if !once {
        step("Pen serves until you interrupt it (^C). Try, as the same user in another terminal:");
        let enter = if native_sandbox() { "nsenter -a -t $(pgrep -nf 'demo --inside') " } else { "" };
        for command in
            ["curl http://127.0.0.1/", "penctl /var/run/pen/default/control servers", "svcs -xv pen"]
        {
            tell(&format!("{enter}{command}"));
        }
        interrupt.wait();
    }
    step("The service is disabled and the package removed");
    show(Command::new("svcadm").args(["disable", "-s", "pen"]))?;
    show(Command::new("pkgrm").args(["-n", "-a"]).arg(&admin).arg("SUNWpen").stdout(Stdio::null()))
}

/// Whether this is the inside of a sandbox rather than a Solaris system.
fn native_sandbox() -> bool {
    cfg!(target_os = "linux")
}

/// Runs a command before the reader's eyes.
fn show(command: &mut Command) -> Result<()> {
    tell(&shown(command));
    if command.status().map_err(|e| format!("{}: {e}", shown(command)))?.success() {
        Ok(())
    } else {
        Err(format!("this failed: {}", shown(command)).into())
    }
}
