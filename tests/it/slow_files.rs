//! Files on a slow disk: pen hears signals and answers commands while it waits for them.

use std::path::Path;
use std::thread;

use nix::sys::signal::Signal;

use crate::support::backend::greeters;
use crate::support::client::Client;
use crate::support::tls::Pair;
use crate::support::tracer::Tracer;
use crate::support::{Pen, Setup, skipped, wait_until};

/// The number of other commands that must be answered while one waits for the disk for a second.
const ANSWERS: usize = 8;

/// Makes a system call take a second, as on a busy disk; `what` are options of strace. `None` without it.
fn slow_disk(pen: &Pen, call: &str, what: &[&str]) -> Option<Tracer> {
    let (trace, inject) = (format!("trace={call}"), format!("inject={call}:delay_enter=1000000"));
    Tracer::of(pen, &[&["-e", &trace, "-e", &inject], what].concat())
}

/// The number of commands that are answered until something is done.
fn answers_until(pen: &Pen, mut is_done: impl FnMut() -> bool) -> usize {
    let mut answers = 0;
    while !is_done() {
        assert_eq!(pen.control("pid").trim(), pen.pid().to_string());
        answers += 1;
    }
    answers
}

/// Asserts that enough commands are answered in one of several attempts: the machine may halt for as long as the disk does,
/// but not each time.
#[track_caller]
fn enough_are_answered(what: &str, attempt: impl FnMut() -> usize) {
    let mut few = Vec::new();
    for answers in std::iter::repeat_with(attempt) {
        if answers >= ANSWERS {
            return;
        }
        few.push(answers);
        assert!(few.len() < 5, "{what}: {few:?} answers");
    }
}

/// Gives a command, which must succeed, while a system call takes a second, only for `path` unless that is empty.
fn is_no_obstacle(pen: &Pen, line: &str, call: &str, path: &str) -> bool {
    let what = if path.is_empty() { vec![] } else { vec!["-P", path] };
    let Some(disk) = slow_disk(pen, call, &what) else { return false };
    enough_are_answered(line, || {
        // A log that is open already is not opened again.
        pen.control("no log");
        let mut client = Client::to_path(&pen.control_path());
        client.send(format!("{line}\n"));
        let reply = thread::spawn(move || client.text());
        let answers = answers_until(pen, || reply.is_finished());
        let reply = reply.join().unwrap();
        assert!(!reply.starts_with("error"), "{line}: {reply}");
        answers
    });
    drop(disk);
    true
}

#[test]
fn commands_are_answered_while_files_are_read_and_written() {
    let backends = greeters(1);
    let setup = Setup::new();
    let authority = Pair::root("ca");
    authority.issue("localhost").write(setup.path(), "pen");
    authority.write(setup.path(), "ca");
    let [cert, key, ca, config, other, written] =
        ["pen.crt", "pen.key", "ca.crt", "config", "other", "written"].map(|name| setup.file(name));
    std::fs::write(&config, "blacklist 7\n").unwrap();
    std::fs::write(&other, "blacklist 8\n").unwrap();
    std::fs::create_dir(setup.path().join("logs")).unwrap();
    let logs = setup.file("logs");
    let setup = setup.option("-E", &cert).option("-K", &key).option("-F", &config);
    let pen = setup.servers(&backends).start();
    assert_eq!(pen.control("server 0 tls on"), "");
    for (line, call, path) in [
        (format!("write {written}"), "fsync", ""),
        (format!("include {other}"), "openat", other.as_str()),
        (format!("diff {other}"), "openat", &other),
        ("reload".to_owned(), "openat", &config),
        ("ssl_reload".to_owned(), "openat", &cert),
        (format!("server_cacert_file {ca}"), "openat", &ca),
        (format!("log {logs}/requests"), "openat", &logs),
    ] {
        if !is_no_obstacle(&pen, &line, call, path) {
            return skipped("slow disk", "no strace");
        }
    }
    assert!(pen.read("written").contains("blacklist 7\n"));
    assert_eq!(pen.control("blacklist"), "7\n", "the reload came after the include");
    assert!(Path::new(&format!("{logs}/requests")).exists());
    // The same by a signal.
    let disk = slow_disk(&pen, "openat", &["-P", &config]).unwrap();
    let mut times = 9..;
    enough_are_answered("HUP", || {
        let line = format!("blacklist {}", times.next().unwrap());
        std::fs::write(&config, format!("{line}\n")).unwrap();
        pen.signal(Signal::SIGHUP);
        answers_until(&pen, || pen.stderr().contains(&format!("changed: {line}")))
    });
    drop(disk);
}

/// Ends pen while it writes a file. Whether it has heard of its end before the file was there; `None` without strace.
fn is_heard_in_between() -> Option<bool> {
    let backends = greeters(1);
    let mut pen = Setup::new().servers(&backends).start();
    let _disk = slow_disk(&pen, "fsync", &[])?;
    let written = pen.file("written");
    let mut client = Client::to_path(&pen.control_path());
    client.send(format!("write {written}\n"));
    let is_temporary = |name: &str| name.starts_with(".written.");
    wait_until("a file", || {
        let mut names = std::fs::read_dir(pen.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.any(|name| name.to_str().is_some_and(|name| is_temporary(name) || name == "written"))
    });
    pen.signal(Signal::SIGTERM);
    pen.says("stopping on SIGTERM");
    let is_heard = !Path::new(&written).exists();
    assert!(pen.wait().unwrap().success());
    assert!(Path::new(&written).exists(), "what is being written is not lost");
    Some(is_heard)
}

#[test]
fn the_end_is_heard_while_a_file_is_written() {
    // The machine may halt for as long as the disk does, but not each time.
    for _ in 0..5 {
        match is_heard_in_between() {
            None => return skipped("slow disk", "no strace"),
            Some(true) => return,
            Some(false) => {}
        }
    }
    panic!("the end waited for the disk");
}

/// Commands that need files are carried out in the order in which they were given.
#[test]
fn a_file_that_was_read_first_is_in_force_first() {
    let backends = greeters(1);
    let setup = Setup::new();
    let [first, second] = ["first", "second"].map(|name| setup.file(name));
    std::fs::write(&first, "blacklist 5\n").unwrap();
    std::fs::write(&second, "blacklist 6\n").unwrap();
    let pen = setup.servers(&backends).start();
    let Some(disk) = slow_disk(&pen, "openat", &["-P", &first]) else {
        return skipped("slow disk", "no strace");
    };
    let include = |file: &str| {
        let mut client = Client::to_path(&pen.control_path());
        client.send(format!("include {file}\n"));
        // Its line has been read when a later command is answered.
        (client, pen.control("blacklist"))
    };
    wait_until("a second file that is named before the first is in force", || {
        pen.control("blacklist 30");
        let ((mut first, before), (mut second, between)) = (include(&first), include(&second));
        assert_eq!([first.text(), second.text()], ["", ""]);
        assert_eq!(pen.control("blacklist"), "6\n");
        [before, between] == ["30\n", "30\n"]
    });
    drop(disk);
}
