//! Command lines, signals and penctl.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use super::compare::{C_PEN, Side, Transcript, compare, steady};
use crate::support::backend::greeters;
use crate::support::directory::directory;
use crate::support::pen::free_port;
use crate::support::process;
use crate::support::wait::DEADLINE;
use crate::support::{Client, Setup, skipped, wait_for};

/// How a command line ends, or that it runs.
fn outcome(side: &Side, args: &[String]) -> String {
    let directory = directory();
    let pid_file = directory.path().join("pid");
    let mut command = Command::new(side.program);
    if !args.is_empty() {
        command.arg("-p").arg(&pid_file);
    }
    command
        .current_dir(directory.path())
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let how = wait_for("it to serve or to end", || match child.try_wait().unwrap() {
        Some(status) => Some(status.to_string()),
        // C pen writes its pid file before it finds that it has no socket, and binds before it finds that it has no jail.
        None => (fs::read_to_string(&pid_file).is_ok_and(|t| !t.is_empty()) && process::listens(child.id()))
            .then(|| "runs".into()),
    });
    _ = child.kill();
    _ = child.wait();
    how
}

#[test]
fn command_lines() {
    compare("command lines", |side| {
        let mut transcript = Transcript::new();
        for line in include_str!("command-lines").lines() {
            let attempt = || {
                let port = free_port().to_string();
                let words = line.split(' ').map(|w| w.replace("PORT", &port).replace("EMPTY", ""));
                outcome(side, &words.filter(|w| w != "NONE").collect::<Vec<_>>())
            };
            // Somebody else may have been faster with the port.
            let failed = "exit status: 1";
            let end = (0..5).map(|_| attempt()).find(|end| end != failed);
            transcript.insert(line.into(), end.unwrap_or_else(|| failed.into()));
        }
        transcript
    });
}

#[test]
fn server_operands() {
    compare("operands", |side| {
        let mut transcript = Transcript::new();
        // Nobody's addresses (RFC 5737): ours refuses a server that is itself.
        for operand in [
            "192.0.2.9",
            "192.0.2.9:",
            "192.0.2.9:0",
            "192.0.2.9:99",
            "192.0.2.9:smtp",
            "192.0.2.9:99:5",
            "192.0.2.9:99:5:6",
            "192.0.2.9:99:5:6:7",
            "192.0.2.9:99:5:6:7:8",
            "192.0.2.9:99::6",
            "[::1]",
            "[::1]:99",
            "[::1]:99:5:6",
            "[192.0.2.9]:99",
            "localhost:99",
            "/run/server",
            "/run/server:5",
            "/run/server:5:6:7:8:9",
        ] {
            let pen = side.setup().listen("%").server(operand).start();
            let shown =
                pen.control("servers").replace(&format!("port {} ", pen.address.port()), "port SAME ");
            transcript.insert(operand.into(), shown);
        }
        transcript
    });
}

#[test]
fn ends() {
    compare("signals", |side| {
        let mut transcript = Transcript::new();
        for signal in [
            Signal::SIGTERM,
            Signal::SIGINT,
            Signal::SIGUSR2,
            Signal::SIGPIPE,
            Signal::SIGHUP,
            Signal::SIGUSR1,
        ] {
            let backends = greeters(1);
            let mut pen = side.setup().wrapper("prlimit --core=0").servers(&backends).start();
            pen.signal(signal);
            let how = if matches!(signal, Signal::SIGPIPE | Signal::SIGHUP | Signal::SIGUSR1) {
                format!("serves {}", pen.choice(2))
            } else {
                let status = pen.wait().unwrap();
                format!(
                    "{status}, pid file {}",
                    if pen.path().join("pid").exists() { "left" } else { "removed" }
                )
            };
            transcript.insert(signal.to_string(), how);
        }
        let mut pen = side.setup().options("-X").start();
        let reply = pen.control("exit");
        let status = pen.wait().unwrap();
        let left = if pen.control_path().exists() { "left" } else { "removed" };
        transcript.insert("exit".into(), format!("{reply:?}, {status}, control socket {left}"));
        transcript
    });
}

#[test]
fn penctl() {
    // Each penctl against our pen, and ours against C pen by the way of the other groups' harness.
    compare("penctl", |side| {
        let mut transcript = Transcript::new();
        let pen = Setup::new().start();
        let socket = pen.control_path();
        let socket = socket.to_str().unwrap();
        for args in [
            &[socket, "blacklist"][..],
            &[socket, "blacklist", "12"],
            &[socket, "mode"],
            &[socket, "blacklist 13"],
            &[socket, "", "blacklist"],
            &[socket, "frobnicate"],
            &[socket, "blacklist", "x"],
            &[socket],
            &["127.0.0.1", "pid"],
            &["/nonexistent/socket", "pid"],
        ] {
            let output = assert_cmd::Command::new(side.penctl).args(args).timeout(DEADLINE).output().unwrap();
            let step = steady(&pen, &[], &args.join(" "));
            let text = |bytes: &[u8]| steady(&pen, &[], &String::from_utf8_lossy(bytes));
            transcript.insert(
                step,
                format!("{:?} {:?} {:?}", output.status.code(), text(&output.stdout), text(&output.stderr)),
            );
        }
        transcript
    });
}

#[test]
fn our_penctl_commands_c_pen() {
    if !Path::new(C_PEN).exists() {
        return skipped("our penctl and C pen", "no C pen at /usr/bin/pen (apt-get install pen)");
    }
    let pen = Setup::new().program(C_PEN).start();
    let output = pen.penctl("blacklist 12");
    assert_eq!((output.stdout.as_slice(), output.status.code()), (&b"12\n"[..], Some(0)));
    let mut client = Client::to_path(&pen.control_path());
    client.send("blacklist\n");
    assert_eq!(client.text(), "12\n");
}
