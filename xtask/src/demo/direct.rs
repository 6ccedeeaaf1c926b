//! Pen on the command line, without a package and a service.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::interrupt::Interrupt;
use super::server::Server;
use super::story::{self, step, tell};
use crate::Result;

/// A pen that ends with the demo.
struct Pen(Child);

impl Drop for Pen {
    fn drop(&mut self) {
        // A pen that has already ended needs no signal.
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// Runs pen from the directory `bin` in front of two servers.
///
/// # Errors
/// A pen that does not start; see [`story::run`].
pub(super) fn run(bin: &Path, once: bool, interrupt: &Interrupt) -> Result<()> {
    let mut servers = [Server::start("A")?, Server::start("B")?];
    step("Two web servers are up, embedded in this demo");
    servers.iter().for_each(|s| tell(&format!("server {} at {}", s.name, s.address)));

    let front = super::front()?;
    let place = tempfile::tempdir()?;
    let control = place.path().join("control");
    let mut command = Command::new(bin.join("pen"));
    // -r: round robin; -H: tell the servers who the client is; -b 1: retry a failed server soon.
    command.args(["-f", "-r", "-H", "-b", "1", "-C"]).arg(&control);
    if nix::unistd::geteuid().is_root() {
        // Pen opens no control socket for root.
        command.args(["-u", "daemon"]);
    }
    command.arg(front.to_string()).args(servers.iter().map(|s| s.address.to_string()));
    step("Pen is started in front of them");
    tell(&shown(&command));
    // In its own process group: an interrupt from the terminal goes to the demo, which then ends pen.
    let pen = Pen(command
        .stdin(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|e| format!("{}: {e}", bin.join("pen").display()))?);
    story::run(front, &mut servers, interrupt)?;

    let mut penctl = Command::new(bin.join("penctl"));
    penctl.arg(&control).arg("servers");
    step("What pen says of its servers");
    tell(&shown(&penctl));
    if !penctl.status()?.success() {
        return Err("penctl failed".into());
    }
    if !once {
        step("Pen serves until you interrupt it (^C). Try, in another terminal:");
        tell(&format!("curl http://{front}/"));
        for words in ["servers", "mode", "recent", "blacklist 5"] {
            tell(&format!("{} {} {words}", bin.join("penctl").display(), control.display()));
        }
        interrupt.wait();
    }
    drop(pen);
    step("Pen has ended");
    Ok(())
}

/// A command line as a user would type it.
fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    format!("$ {}", words.map(|w| w.to_string_lossy()).collect::<Vec<_>>().join(" "))
}
