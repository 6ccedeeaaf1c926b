//! Checks in progress whose server, or whose settings, change: they are cancelled, and say nothing about what comes after.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use nix::sys::signal::Signal;

use crate::support::backend::{Backend, greeters};
use crate::support::{Pen, Setup, process, udp, wait_until};

use super::checks::becomes;

/// A server that accepts, reads, and never answers.
struct Silent {
    backend: Backend,
    open: Arc<AtomicUsize>,
    /// What came on the connection that has ended last.
    last: Arc<Mutex<Vec<u8>>>,
}

impl Silent {
    fn new() -> Self {
        let open = Arc::new(AtomicUsize::new(0));
        let last = Arc::new(Mutex::default());
        let (counted, read) = (Arc::clone(&open), Arc::clone(&last));
        let backend = Backend::new(move |mut client| {
            counted.fetch_add(1, SeqCst);
            *read.lock().unwrap() = client.rest();
            counted.fetch_sub(1, SeqCst);
        });
        Silent { backend, open, last }
    }

    /// Waits until it has had so many connections, and the last one, and no other, is open.
    #[track_caller]
    fn has_had(&self, count: usize) {
        wait_until("a check to be in progress", || {
            (self.backend.accepted(), self.open.load(SeqCst)) == (count, 1)
        });
    }

    #[track_caller]
    fn is_left(&self) {
        wait_until("the connection of the check to be closed", || self.open.load(SeqCst) == 0);
    }
}

/// A check that ends by itself an hour later.
const LONG: &str = "every 3600 timeout 3600 fall 1";

fn health(pen: &Pen, server: &str) -> String {
    let checks: serde_json::Value = serde_json::from_str(&pen.control("json checks")).unwrap();
    let rows = checks["checks"].as_array().unwrap();
    let row = rows.iter().find(|row| row["name"] == server).unwrap();
    row["health"].as_str().unwrap().to_owned()
}

#[test]
fn the_check_of_a_removed_server_says_nothing_about_the_next_one_in_its_slot() {
    let (silent, good) = (Silent::new(), greeters(1));
    let pen = Setup::new()
        .command(format!("check slow type http {LONG}"))
        .command("check quick type tcp every 3600")
        .command(format!("server keeper address 127.0.0.1 port {} check none", good[0].port()))
        .command(format!("server a address 127.0.0.1 port {} check slow", silent.backend.port()))
        .servers([])
        .start();
    silent.has_had(1);
    // Another name and another check.
    assert_eq!(pen.control("no server a"), "");
    silent.is_left();
    pen.control(&format!("server z address 127.0.0.1 port {} check quick", good[0].port()));
    assert_eq!(pen.control("wait z up 20"), "");
    // The same name and check, at once.
    for count in 2..5 {
        assert_eq!(pen.control("no server z"), "");
        pen.control(&format!("server z address 127.0.0.1 port {} check slow", silent.backend.port()));
        silent.has_had(count);
        assert_eq!(health(&pen, "z"), "unknown");
    }
    pen.says(") is up");
    assert_eq!(pen.stderr().matches(") is up").count(), 1, "{}", pen.stderr());
    assert_eq!(pen.stderr().matches(") is down").count(), 0, "{}", pen.stderr());
}

#[test]
fn nor_does_it_after_reloads() {
    let (silent, good) = (Silent::new(), greeters(1));
    let setup = Setup::new();
    let lines = |servers: &str| {
        let keeper = format!("server keeper address 127.0.0.1 port {} check none", good[0].port());
        format!("reload_mode exact\ncheck it type send {LONG}\ncheck_default it\n{keeper}\n{servers}\n")
    };
    let old = lines(&format!("server old address 127.0.0.1 port {}", silent.backend.port()));
    let new = lines(&format!("server new address 127.0.0.1 port {}", good[0].port()));
    let file = setup.write("file", &old);
    let pen = setup.options(format!("-F {file}")).start();
    let reload = |text: &str| {
        fs::write(&file, text).unwrap();
        let before = pen.stderr().matches("read again").count();
        pen.signal(Signal::SIGHUP);
        wait_until("the file to be read", || pen.stderr().matches("read again").count() > before);
    };
    for (count, between) in [(1, false), (2, true)] {
        silent.has_had(count);
        if between {
            reload(&lines(""));
        }
        reload(&new);
        assert_eq!(pen.control("wait new up 20"), "");
        silent.is_left();
        reload(&old);
    }
}

#[test]
fn a_check_that_is_no_longer_wanted_is_cancelled() {
    let (silent, good) = (Silent::new(), greeters(1));
    let at = format!("address 127.0.0.1 port {}", silent.backend.port());
    let away = format!("server a address 127.0.0.1 port {}", good[0].port());
    let pen = Setup::new()
        .command(format!("check slow type http {LONG}"))
        .command(format!("check other type http path /x {LONG}"))
        .command("check_default slow")
        .command(format!("server keeper address 127.0.0.1 port {} check none", good[0].port()))
        .servers([])
        .start();
    let mut count = 0;
    for (leave, back) in [
        ("no server a", &*format!("server a {at}")),
        ("server a state maint", "server a state ready"),
        ("server a check none", "server a check default"),
        ("no check_default", "check_default slow"),
        (&away, &*format!("server a {at}")),
    ] {
        pen.control(&format!("server a {at}"));
        count += 1;
        silent.has_had(count);
        assert_eq!(pen.control(leave), "", "{leave}");
        silent.is_left();
        pen.control(back);
        count += 1;
        silent.has_had(count);
        assert_eq!(pen.control("no server a"), "");
        silent.is_left();
    }
    // It begins anew as it is now.
    pen.control(&format!("server a {at}"));
    count += 1;
    silent.has_had(count);
    for change in [
        "server a check other",
        "check other path /y",
        "check other timeout 3599",
        "server a tls_name www.example.com",
        "server a proxy v2",
        "check other proxy off",
    ] {
        pen.control(change);
        // A name without TLS changes nothing.
        count += usize::from(!change.contains("tls_name"));
        silent.has_had(count);
    }
    // What does not concern it leaves it alone.
    for change in ["server a weight 3", "check slow path /z", "blacklist 7"] {
        pen.control(change);
    }
    pen.control("check other timeout 0.1");
    assert_eq!(pen.control("wait a down 20"), "");
    assert_eq!(silent.backend.accepted(), count + 1);
    silent.is_left();
    let request = String::from_utf8(silent.last.lock().unwrap().clone()).unwrap();
    assert!(request.starts_with("GET /y "), "{request}");
}

#[test]
fn datagram_checks_are_cancelled_too() {
    let silent = udp::Server::mute();
    let answers = udp::Server::named("A");
    let pen = Setup::new()
        .options("-U")
        .command(format!("check it type udp send x {LONG}"))
        .command("check_default it")
        .server(silent.address)
        .start();
    silent.peers(1);
    pen.control(&format!("server 0 address 127.0.0.1 port {}", answers.address.port()));
    becomes(&pen, 0, "up");
    pen.control(&format!("server 0 address 127.0.0.1 port {}", silent.address.port()));
    silent.peers(2);
    assert_eq!(pen.control("check it timeout 0.1"), "");
    becomes(&pen, 0, "down");
}

#[test]
fn programs_that_are_no_longer_wanted_are_killed_and_make_room() {
    let setup = Setup::new();
    let path = setup.path().display().to_string();
    let program = |name: &str, script: &str| {
        let file = setup.write(name, format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        file
    };
    // The last is for the case that its parent closes its output before.
    let hung =
        program("hung", &format!("exec 3>>{path}/pids\nsleep 1000 >&3 &\necho $$ $! >&3\nexec >&-\nwait"));
    let well = program("well", "echo 0");
    let mut setup = setup
        .command(format!("check hung type exec program {hung} {LONG}"))
        .command(format!("check well type exec program {well} every 0.1 timeout 60"))
        .command("check_default hung");
    for n in 0..17 {
        setup = setup.command(format!("server {n} address 127.0.0.1 port 9"));
    }
    let pen = setup.start();
    let pids = |count: usize| -> Vec<i32> {
        wait_until("the programs to run", || pen.read("pids").lines().count() == count);
        pen.read("pids").split_whitespace().map(|pid| pid.parse().unwrap()).collect()
    };
    let first = pids(16);
    pen.control("server 17 address 127.0.0.1 port 9 check well");
    // Each that ends makes room for the next one.
    pen.control("server 0 state maint");
    pen.control("no server 1");
    becomes(&pen, 17, "up");
    assert_eq!(pen.control("check hung timeout 3599"), "");
    wait_until("those of the old settings to be gone", || first.iter().all(|pid| !process::is_alive(*pid)));
    assert_eq!(pen.control("no check_default"), "");
    assert_eq!(pen.control("no check hung"), "");
    wait_until("all to be gone", || {
        pen.read("pids").split_whitespace().all(|pid| !process::is_alive(pid.parse().unwrap()))
    });
    becomes(&pen, 17, "up");
    assert!(!pen.stderr().contains(") is down"), "{}", pen.stderr());
}
