//! Runs svcadm and svccfg for users who cannot write the repository themselves.

use std::os::unix::net::UnixStream;
use std::process::Command;

use anyhow::{Context, bail};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use serde::{Deserialize, Serialize};

use super::super::auth::CALLER;
use super::super::door;

/// The verb of such a request; its argument is the command line as JSON.
pub(crate) const VERB: &str = "run ";

#[derive(Serialize, Deserialize)]
struct Outcome {
    status: u8,
    stdout: String,
    stderr: String,
}

/// The command's side: `None` for root, who runs the command directly; otherwise the result of the run.
pub(crate) fn delegate(name: &str) -> anyhow::Result<Option<u8>> {
    if nix::unistd::geteuid().is_root() {
        return Ok(None);
    }
    let args = std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned());
    let line: Vec<String> = std::iter::once(name.to_owned()).chain(args).collect();
    let answer = door::call(&format!("{VERB}{}", serde_json::to_string(&line)?))?;
    let outcome: Outcome = serde_json::from_str(&answer).with_context(|| answer.clone())?;
    print!("{}", outcome.stdout);
    eprint!("{}", outcome.stderr);
    Ok(Some(outcome.status))
}

/// The restarter's side: the answer to a request.
pub(crate) fn serve(request: &str, stream: &UnixStream) -> String {
    let outcome = run(request, stream).unwrap_or_else(|error| Outcome {
        status: 1,
        stdout: String::new(),
        stderr: format!("{error:#}\n"),
    });
    serde_json::to_string(&outcome).unwrap_or_default()
}

fn run(request: &str, stream: &UnixStream) -> anyhow::Result<Outcome> {
    let line: Vec<String> = serde_json::from_str(request)?;
    let (name, args) = line.split_first().context("no command")?;
    if !matches!(name.as_str(), "svcadm" | "svccfg") {
        bail!("{name}: not a command to run for others");
    }
    let uid = getsockopt(stream, PeerCredentials)?.uid();
    let output =
        Command::new(format!("/usr/sbin/{name}")).args(args).env(CALLER, uid.to_string()).output()?;
    Ok(Outcome {
        status: output.status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
