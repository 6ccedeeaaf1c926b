//! The tasks of penctl itself, `check-health` and `watch`: what they print, in what time, and how they end.

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::penctl::{penctl, text};
use crate::support::pen::{free_port, penctl_program, run_penctl};
use crate::support::tree::tool;
use crate::support::{Setup, Stopwatch};

/// Expects the answer of a plugin that has found nothing out, and returns its line.
#[track_caller]
fn unknown(output: &Output) -> String {
    let line = text(&output.stdout);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(3), String::new()), "{line}");
    assert!(
        line.starts_with("PEN UNKNOWN - ") && line.lines().count() == 1 && !line.contains("os error"),
        "{line}"
    );
    line
}

#[test]
fn check_health_is_a_plugin_of_nagios() {
    let backends = crate::support::backend::greeters(2);
    let mut pen = Setup::new().servers(&backends).start();
    let check = |change: &str, status: i32, begin: &str| {
        assert_eq!(pen.control(change), "");
        let output = penctl(&pen, &["check-health"]);
        let line = text(&output.stdout);
        assert_eq!(output.status.code(), Some(status), "{line}");
        assert!(line.starts_with(begin) && line.lines().count() == 1 && line.contains(" | up="), "{line}");
    };
    check("server 0 max 9", 0, "PEN OK - 2 of 2 servers up |");
    check("server 1 blacklist 60", 1, "PEN WARNING - 1 of 2 servers up: 1 blacklisted |");
    check("server 0 blacklist 60", 2, "PEN CRITICAL - 0 of 2 servers up: 0 blacklisted, 1 blacklisted |");
    // Up, and for nobody.
    pen.control("acl 4 default deny");
    check(
        "server 0 blacklist 0 acl 4",
        2,
        "PEN CRITICAL - 1 of 2 servers up, but no server can serve new clients: 1",
    );
    check("server 0 acl 0", 1, "PEN WARNING - 1 of 2 servers up: 1 blacklisted |");
    check("server 0 blacklist 60", 2, "PEN CRITICAL - 0 of 2 servers up: 0 blacklisted, 1 blacklisted |");
    check("emergency 127.0.0.1:9", 1, "PEN WARNING - 0 of 2 servers up: 0 blacklisted, 1 blacklisted |");
    pen.terminate();
    unknown(&penctl(&pen, &["check-health"]));
    let output = penctl(&pen, &["watch", "0.1", "1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).ends_with(": No such file or directory\n"), "{}", text(&output.stdout));
}

/// A pen that is stopped, one that accepts nobody, and listeners that never answer.
#[test]
fn check_health_is_unknown_in_time_whatever_does_not_answer() {
    let pen = Setup::new().start();
    pen.signal(Signal::SIGSTOP);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("full");
    let full = UnixListener::bind(&path).unwrap();
    rustix::net::listen(&full, 0).unwrap();
    let _first = UnixStream::connect(&path).unwrap();
    let targets = [pen.file("control"), silent.local_addr().unwrap().to_string(), path.display().to_string()];
    for target in &targets {
        let stopwatch = Stopwatch::start();
        let line = unknown(&run_penctl([target, "check-health", "0.3"]));
        stopwatch.is_below(Duration::from_secs(5));
        assert_eq!(line, format!("PEN UNKNOWN - {target}: expected an answer within 0.3 s, got none\n"));
    }
    pen.signal(Signal::SIGCONT);
}

#[test]
fn what_prevents_check_health_is_told_as_a_plugin_does() {
    let nobody = format!("127.0.0.1:{}", free_port());
    for (words, told) in [
        (&["check-health", "x"][..], "check-health: expected a number of seconds from 0.1 to 86400, got 'x'"),
        (&["/x", "check-health", "1", "2"], "check-health: '2' is one word too many"),
        (&["localhost", "check-health"], "got 'localhost'"),
        (&["a b:1", "check-health"], "'a b"),
        (&["/a|b\nc", "check-health"], "/a/b\\nc: No such file or directory"),
        (&[&nobody, "check-health"], "Connection refused"),
    ] {
        let line = unknown(&run_penctl(words));
        assert!(line.contains(told), "{words:?}: {line}");
    }
    let mut command = Command::new(penctl_program());
    let output = command.env("PEN_CONTROL", "nowhere").arg("check-health").output().unwrap();
    assert!(unknown(&output).contains("PEN_CONTROL: "), "{output:?}");
}

/// A program whose standard output is full.
fn printed_to_a_full_device(command: &mut Command) -> (Option<i32>, String) {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = command.stdout(full).stderr(Stdio::piped()).output().unwrap();
    (output.status.code(), text(&output.stderr))
}

#[test]
fn what_cannot_be_printed_is_an_error() {
    let pen = Setup::new().servers(&crate::support::backend::greeters(1)).start();
    for (words, status) in [
        (&["check-health"][..], 3),
        (&["check-health", "x"], 3),
        (&["watch", "0.1"], 1),
        (&["watch", "0.1", "1"], 1),
        (&["servers"], 1),
        (&["--help"], 1),
    ] {
        let mut command = Command::new(penctl_program());
        let printed = printed_to_a_full_device(command.env("PEN_CONTROL", pen.file("control")).args(words));
        let told = "penctl: standard output: No space left on device\n".to_owned();
        assert_eq!(printed, (Some(status), told), "{words:?}");
    }
    for (name, program) in [
        ("pen", env!("CARGO_BIN_EXE_pen")),
        ("penlog", env!("CARGO_BIN_EXE_penlog")),
        ("penlogd", env!("CARGO_BIN_EXE_penlogd")),
        ("mergelogs", env!("CARGO_BIN_EXE_mergelogs")),
    ] {
        for option in ["--help", "--version"] {
            let printed = printed_to_a_full_device(Command::new(program).arg(option));
            let told = format!("{name}: standard output: No space left on device\n");
            assert_eq!(printed, (Some(1), told), "{name} {option}");
        }
    }
}

#[test]
fn watch_shows_the_servers_again_and_again() {
    let backends = crate::support::backend::greeters(1);
    let pen = Setup::new().servers(&backends).start();
    pen.control("server 0 name www1");
    let output = penctl(&pen, &["watch", "0.1", "3"]);
    let shown = text(&output.stdout);
    assert_eq!((shown.matches("www1").count(), output.status.code()), (3, Some(0)), "{shown}");
    // What is no terminal gets no control characters.
    assert!(!shown.contains('\x1b'), "{shown}");
}

#[test]
fn watch_fits_the_terminal() {
    let pen = Setup::new().start();
    pen.has_servers(30);
    let Some(mut script) = tool("script") else { return };
    // The terminal is made smaller between two tables.
    let resized = format!(
        "stty rows 24 cols 80; {penctl} watch 0.1 1; stty rows 10 cols 40; {penctl} watch 0.1 1; TERM=dumb {penctl} watch 0.1 1",
        penctl = penctl_program().display()
    );
    script.args(["-qec", &resized, "/dev/null"]).env("PEN_CONTROL", pen.file("control")).env("TERM", "xterm");
    let shown = text(&script.stdin(Stdio::null()).output().unwrap().stdout).replace('\r', "");
    let tables: Vec<Vec<&str>> =
        shown.split("\x1b[H\x1b[J").skip(1).map(|table| table.lines().collect()).collect();
    let [large, rest] = &tables[..] else { panic!("expected two tables for a screen, got {shown:?}") };
    assert_eq!((large.len(), large[22]), (23, "10 more servers are not shown"), "{shown}");
    assert!(large[1].ends_with(" NEW/S") && large.iter().all(|line| line.len() <= 80), "{shown}");
    let (small, dumb) = rest.split_at(9);
    assert_eq!(small[8], "24 more servers are not shown", "{shown}");
    assert!(small.iter().all(|line| line.len() <= 40), "{shown}");
    assert_eq!((dumb.len(), dumb[1].ends_with(" FAILED")), (32, true), "{shown}");
}
