//! Messages on their way to the standard error and to syslogd.

use std::fs;
use std::io::{Read, Seek as _, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::{Test, needs_root, role};

pub(crate) const TESTS: &[Test] = &[
    ("log::syslog_goes_on_inside_a_chroot", syslog_goes_on_inside_a_chroot),
    ("log::syslogd_may_restart", syslogd_may_restart),
    ("log::stderr_has_the_time_once_pen_serves", stderr_has_the_time_once_pen_serves),
    ("log::a_stuck_stderr_holds_up_nobody", a_stuck_stderr_holds_up_nobody),
    ("log::a_panic_is_logged", a_panic_is_logged),
];

/// A syslogd in the jail `dir`.
fn syslogd(dir: &Path) -> UnixDatagram {
    let socket = UnixDatagram::bind(dir.join("dev/log")).expect("binds");
    socket.set_read_timeout(Some(Duration::from_secs(30))).expect("timeout");
    socket
}

/// The next message's priority, and its text after the name and number of the sender.
fn message(syslogd: &UnixDatagram, pid: u32) -> (String, String) {
    message_of("pen", syslogd, pid)
}

fn message_of(name: &str, syslogd: &UnixDatagram, pid: u32) -> (String, String) {
    let mut buffer = [0; 2048];
    let length = syslogd.recv(&mut buffer).expect("a message");
    let line = String::from_utf8_lossy(&buffer[..length]).into_owned();
    let (priority, rest) = line.split_once('>').expect("a priority");
    let (_, text) = rest.split_once(&format!(" {name}[{pid}]: ")).unwrap_or_else(|| panic!("{line}"));
    (priority.to_owned(), text.trim_end_matches('\0').to_owned())
}

fn syslog_goes_on_inside_a_chroot() -> Result<(), &'static str> {
    needs_root()?;
    let dir = tempfile::tempdir().expect("directory");
    fs::create_dir_all(dir.path().join("dev")).expect("directory");
    fs::create_dir_all(dir.path().join("jail")).expect("directory");
    let syslogd = syslogd(dir.path());
    let mut sender = role("syslog").arg(dir.path()).spawn().expect("runs");
    // Facility local3 is 19 * 8; error 3, warning 4, info 6, debug 7 (syslog.h).
    for (priority, text) in [
        ("<155", "an error"),
        ("<156", "100%s sure\\x0aand no second line"),
        ("<158", "information"),
        ("<158", "a line of another log"),
        ("<159", "first level"),
    ] {
        assert_eq!(message_of("edge", &syslogd, sender.id()), (priority.to_owned(), text.to_owned()));
    }
    assert!(sender.wait().expect("ends").success());
    syslogd.set_nonblocking(true).expect("non-blocking");
    assert!(syslogd.recv(&mut [0; 100]).is_err(), "the second level is not logged");
    Ok(())
}

fn syslogd_may_restart() -> Result<(), &'static str> {
    needs_root()?;
    let dir = tempfile::tempdir().expect("directory");
    fs::create_dir_all(dir.path().join("dev")).expect("directory");
    let old = syslogd(dir.path());
    let mut sender = role("syslog restarts").arg(dir.path()).spawn().expect("runs");
    let mut steps = loop {
        // Until it listens; it ends by itself if it never does.
        assert!(sender.try_wait().expect("is ours").is_none(), "ended early");
        if let Ok(steps) = UnixStream::connect(dir.path().join("steps")) {
            break steps;
        }
    };
    steps.read_exact(&mut [0]).expect("has logged");
    assert_eq!(message(&old, sender.id()).1, "first");
    drop(old);
    fs::remove_file(dir.path().join("dev/log")).expect("there");
    let new = syslogd(dir.path());
    steps.write_all(b"x").expect("it reads");
    assert_eq!(message(&new, sender.id()).1, "second");
    steps.write_all(b"x").expect("it reads");
    assert!(sender.wait().expect("ends").success());
    Ok(())
}

/// Runs a role whose standard error is a file, to which nobody else adds the time; its status and what it said.
fn said(mut role: Command) -> (ExitStatus, String) {
    let mut file = tempfile::tempfile().expect("file");
    let status = role.stderr(file.try_clone().expect("descriptor")).status().expect("runs");
    let mut text = String::new();
    file.rewind().expect("file");
    file.read_to_string(&mut text).expect("text");
    (status, text)
}

fn stderr_has_the_time_once_pen_serves() -> Result<(), &'static str> {
    let (_, text) = said(role("stderr"));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "pen: before");
    // What a message quotes cannot forge another one.
    let (time, rest) = lines[1].split_at("2026-01-31 12:00:00".len());
    assert!(time.parse::<jiff::civil::DateTime>().is_ok(), "{}", lines[1]);
    assert_eq!(rest, ": after\\x0aand more");
    assert_eq!(lines.len(), 2);
    Ok(())
}

fn a_stuck_stderr_holds_up_nobody() -> Result<(), &'static str> {
    let mut child = role("stderr is stuck").stderr(Stdio::piped()).spawn().expect("runs");
    let unread = child.stderr.take();
    assert!(child.wait().expect("ends").success());
    drop(unread);
    Ok(())
}

fn a_panic_is_logged() -> Result<(), &'static str> {
    let (status, text) = said(role("panics"));
    assert!(!status.success());
    assert!(text.contains(": internal error: ") && text.contains("the unthinkable"), "{text}");
    assert_eq!(status.signal(), None);
    let output = role("panics").arg("abort").output().expect("runs");
    assert_eq!(output.status.signal(), Some(libc::SIGABRT));
    let text = String::from_utf8(output.stderr).expect("text");
    assert!(text.contains("the unthinkable"), "{text}");
    Ok(())
}
