//! What goes wrong on pen's side of a connect: no server is blamed, and the next one is tried.

use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use crate::support::backend::{Backend, greeters};
use crate::support::namespace::inside;
use crate::support::udp::{Server, choices};
use crate::support::{Pen, Setup, process, skipped, wait_until};

/// In a namespace without IPv6, as `ipv6.disable` and the like leave it.
fn without_ipv6(test: &str) -> bool {
    if !inside(test) {
        return false;
    }
    if std::fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1").is_err() {
        skipped(test, "IPv6 cannot be turned off");
        return false;
    }
    true
}

#[track_caller]
fn blames_nobody(pen: &Pen) {
    assert!(!pen.stderr().contains("blacklisting"), "{}", pen.stderr());
}

#[test]
fn a_server_of_a_family_that_is_off_is_passed_over() {
    if !without_ipv6("it::own_faults::a_server_of_a_family_that_is_off_is_passed_over") {
        return;
    }
    let backends = greeters(1);
    let pen = Setup::new().options("-r").servers(&backends).server("[::1]:7").start();
    assert_eq!(pen.choices([2; 6]), "A A A A A A");
    pen.says("cannot connect to server 1 ([::1]:7) for a reason on this side: ");
    assert_eq!(pen.stderr().matches("reason on this side").count(), 1);
    blames_nobody(&pen);
    let emergency = Backend::greeter("E");
    let pen = Setup::new().option("-e", emergency.address().to_string()).server("[::1]:7").start();
    assert_eq!(pen.choices([2, 2]), "E E");
    blames_nobody(&pen);
}

#[test]
fn over_udp_too() {
    if !without_ipv6("it::own_faults::over_udp_too") {
        return;
    }
    let a = Server::named("A");
    let pen = Setup::new().options("-U -r").server(a.address).server("[::1]:7").start();
    assert_eq!(choices(pen.address, [2; 6]), "A A A A A A");
    pen.says("cannot connect to server 1 ([::1]:7)");
    blames_nobody(&pen);
    let emergency = Server::named("E");
    let options = format!("-U -e {}", emergency.address);
    let pen = Setup::new().options(options).server("[::1]:7").start();
    assert_eq!(choices(pen.address, [2, 2]), "E E");
    blames_nobody(&pen);
}

#[test]
fn a_server_that_no_local_port_is_left_for_is_passed_over() {
    if !inside("it::own_faults::a_server_that_no_local_port_is_left_for_is_passed_over") {
        return;
    }
    let backends = greeters(2);
    let operand = |n: usize| format!("{}:0:0:0:{n}", backends[n].address());
    let pen = Setup::new().options("-O prio").server(operand(0)).server(operand(1)).start();
    set_port_range("40000 40003");
    let mut held = Vec::new();
    let first_other = (2..8).map(|n| pen.hold(n)).find_map(|(client, name)| {
        held.push(client);
        (name != "A").then_some(name)
    });
    // The servers of the test need a port to be stopped.
    set_port_range("32768 60999");
    assert_eq!(first_other.as_deref(), Some("B"), "after {} clients", held.len());
    pen.says("cannot connect to server 0");
    blames_nobody(&pen);
}

fn set_port_range(range: &str) {
    std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", range).unwrap();
}

/// Lets the next few calls of every thread fail with ENOSPC, as where the user watches as many sockets as it may.
fn without_room_in_the_event_port(pen: &Pen, calls: usize) -> Option<std::process::Child> {
    let pid = pen.pid().to_string();
    let inject = format!("inject=epoll_ctl:error=ENOSPC:when=1..{calls}");
    let tracer = Command::new("strace")
        .args(["-f", "-qq", "-p", &pid, "-o", "/dev/null", "-e", "trace=epoll_ctl", "-e", &inject])
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let traced = || process::status(pen.pid(), "TracerPid").is_some_and(|tracer| tracer != "0");
    wait_until("the tracer", traced);
    Some(tracer)
}

#[test]
fn an_event_port_without_room_blames_nobody() {
    let backends = greeters(2);
    let pen = Setup::new().options("-r").command("workers 1").servers(&backends).start();
    let Some(mut tracer) = without_room_in_the_event_port(&pen, 4) else {
        return skipped("event port", "no strace");
    };
    let choices: Vec<String> = (0..40).map(|_| pen.choice(2)).collect();
    process::signal(i32::try_from(tracer.id()).unwrap(), Signal::SIGTERM);
    tracer.wait().unwrap();
    let failed = choices.iter().filter(|name| *name == "EOF").count();
    assert!(failed <= 4, "{failed} of 40: {choices:?}");
    blames_nobody(&pen);
}
