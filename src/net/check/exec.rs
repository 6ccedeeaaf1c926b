//! Checks by a program, which is called as Solaris ILB calls a test (ilbadm(1M)).

use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt;
use tokio::process::Command;

use crate::core::error::SystemReason;
use crate::core::settings::Value;
use crate::core::snapshot::ServerAddress;
use crate::net::connect::failure::{Failure, Origin};
use crate::sys::child;

use super::addresses::{first_of, of_server};
use super::outcome::Trouble;
use super::probe::{CheckStage, Probe};

/// How much of the output is read: it is one number.
const OUTPUT_MAX: u64 = 4096;

/// The process group of a program, which is killed when this is dropped before the program has ended.
struct ProcessGroup(Option<Pid>);

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            // It may have ended by itself.
            _ = killpg(pid, Signal::SIGKILL);
        }
    }
}

/// Carries out the check: of several addresses, the server works if it does at one.
pub(super) async fn run(probe: &Probe<'_>) -> Result<String, Trouble> {
    probe.stage.set(CheckStage::Program);
    let Some(program) = &probe.check.config.program else {
        return Err(Trouble::Here("it has no program".into()));
    };
    first_of(probe, async |address, time| run_for(probe, program, address, time).await.map(Ok)).await
}

/// Runs the program for this address, to which it gives this time.
async fn run_for(
    probe: &Probe<'_>,
    program: &Path,
    address: &ServerAddress,
    time: Duration,
) -> Result<String, Failure> {
    let here = |what: &str, error: io::Error| {
        let error = format!("{}: {what}: {}", program.display(), SystemReason(&error));
        Failure { origin: Origin::Internal, error: io::Error::other(error) }
    };
    let (address, port) = match address {
        ServerAddress::Ip(address) => (address.ip().to_string(), address.port()),
        ServerAddress::Unix(path) => (path.clone(), probe.backend.port),
    };
    let protocol = if probe.check.datagrams { "UDP" } else { "TCP" };
    child::begins();
    let mut child = Command::new(program)
        .args([&probe.snapshot.listen, &address, protocol, &port.to_string()])
        .arg(Value::Seconds(time).to_string())
        .env_clear()
        .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|error| here("cannot be run", error))?;
    let leader = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    let mut group = ProcessGroup(leader);
    let mut output = Vec::new();
    // The output is read to its end before the program is waited for: until then no other process can get the program's
    // ID, which is used to kill its process group.
    if let Some(stdout) = child.stdout.take() {
        stdout.take(OUTPUT_MAX).read_to_end(&mut output).await.map_err(|error| here("its output", error))?;
    }
    let status = child.wait().await.map_err(|error| here("its end", error))?;
    group.0 = None;
    judge(status, &output).map_err(of_server)
}

fn judge(status: ExitStatus, output: &[u8]) -> Result<String, String> {
    if !status.success() {
        return Err(format!("the program ended with {status}"));
    }
    let text = String::from_utf8_lossy(output);
    match text.trim().parse::<i64>() {
        Ok(0) => Ok("the program says that it is alive".into()),
        Ok(micros @ 1..) => Ok(format!("the program measured {micros} microseconds")),
        Ok(_) => Err("the program says that it is dead".into()),
        Err(_) => {
            let quoted: String = text.trim().chars().take(60).collect();
            Err(format!("the program printed '{}', expected a number", quoted.escape_debug()))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn what_a_program_says_is_what_ilb_takes_it_for() {
        let say = |code: i32, output: &str| judge(ExitStatus::from_raw(code << 8), output.as_bytes());
        assert!(say(0, "0\n").is_ok() && say(0, " 1500 ").is_ok());
        assert_eq!(say(0, "-1\n"), Err("the program says that it is dead".into()));
        assert_eq!(say(0, ""), Err("the program printed '', expected a number".into()));
        assert_eq!(say(0, "a\nb"), Err("the program printed 'a\\nb', expected a number".into()));
        assert_eq!(say(1, "0"), Err("the program ended with exit status: 1".into()));
    }
}
