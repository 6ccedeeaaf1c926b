//! The command `wait` whose client, or whose server, has gone.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::backend::greeters;
use crate::support::pen::penctl_program;
use crate::support::{Client, Pen, Setup, wait_until};

/// The number of commands that may wait.
const PLACES: usize = 16;
/// What all of them wait for in vain.
const DOWN: &str = "wait b down 86400\n";

/// A pen with two servers.
fn pen() -> (Vec<crate::support::Backend>, Pen) {
    let backends = greeters(2);
    let setup = Setup::new().command("server 1 name b").servers(&backends);
    (backends, setup.start())
}

#[track_caller]
fn are_taken(ask: &impl Fn(&str) -> String) {
    wait_until("all places to be taken", || ask("wait b up 0") == "error: 16 commands wait already\n");
}

#[track_caller]
fn are_free(ask: &impl Fn(&str) -> String) {
    wait_until("places to be free", || ask("wait b up 0").is_empty());
}

#[test]
fn a_client_that_has_gone_waits_no_longer() {
    let (_backends, pen) = pen();
    let ask = |line: &str| pen.control(line);
    let clients = || -> Vec<Client> {
        let client = |_| {
            let mut client = Client::to_path(&pen.control_path());
            client.send(DOWN);
            client
        };
        (0..PLACES).map(client).collect()
    };
    for _ in 0..2 {
        let waiting = clients();
        are_taken(&ask);
        drop(waiting);
        are_free(&ask);
        pen.has_no_control_connections();
    }
    // One that has only ended what it sends gets its reply.
    let mut half = Client::to_path(&pen.control_path());
    half.send(DOWN);
    half.finish();
    let others: Vec<Client> = clients().into_iter().skip(1).collect();
    are_taken(&ask);
    drop(others);
    are_free(&ask);
    pen.control("server b blacklist 60");
    assert_eq!(half.text(), "");
}

/// The same with a control socket over TCP, and its address.
fn pen_over_tcp() -> (Vec<crate::support::Backend>, Pen, SocketAddr) {
    let backends = greeters(2);
    let setup = Setup::new().no_probe().options("-C 127.0.0.1:%").command("server 1 name b");
    let pen = setup.servers(&backends).start();
    let control = SocketAddr::from((Ipv4Addr::LOCALHOST, pen.second_port));
    (backends, pen, control)
}

/// A client that sends a line.
fn sends(control: SocketAddr, line: &str) -> Client {
    let mut client = Client::to(control);
    client.send(line);
    client
}

/// One that waits, and has ended what it sends.
fn half(control: SocketAddr) -> Client {
    let client = sends(control, DOWN);
    client.finish();
    client
}

#[test]
fn one_further_client_takes_one_place() {
    // No client has waited before: its place might not be free yet.
    let (_backends, _pen, control) = pen_over_tcp();
    let mut halves: Vec<Client> = (0..PLACES).map(|_| half(control)).collect();
    let _whole = sends(control, DOWN);
    let short = Duration::from_millis(20);
    wait_until("one to give way", || halves.iter_mut().any(|half| !half.is_silent_for(short)));
    assert_eq!(halves.iter_mut().filter(|half| !half.is_silent_for(short)).count(), 1);
}

#[test]
fn over_tcp_it_gives_its_place_to_another_one() {
    let (_backends, _pen, control) = pen_over_tcp();
    let ask = |line: &str| sends(control, &format!("{line}\n")).text();
    let penctl = || {
        let mut command = Command::new(penctl_program());
        command.arg(control.to_string()).args(DOWN.split_whitespace());
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let mut waiting: Vec<_> = (0..PLACES).map(|_| penctl()).collect();
    are_taken(&ask);
    for child in &mut waiting {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    are_free(&ask);
    // Whether those have gone cannot be known; each place goes to one that has not.
    let mut halves: Vec<Client> = (0..PLACES).map(|_| half(control)).collect();
    let whole: Vec<Client> = (0..PLACES).map(|_| sends(control, DOWN)).collect();
    for half in &mut halves {
        // An empty reply would mean that the server is down.
        assert_eq!(half.text(), "error: wait: its place was given to another command: 16 may wait\n");
    }
    are_taken(&ask);
    whole.into_iter().for_each(Client::reset);
    are_free(&ask);
    // With room left, such a client gets its reply.
    let mut alone = half(control);
    ask("server b blacklist 60");
    assert_eq!(alone.text(), "");
}

#[test]
fn that_pen_ends_is_told() {
    let told = |waiting: &mut [Client]| {
        for client in waiting {
            assert_eq!(client.text(), "error: pen has ended before it could reply\n");
        }
    };
    let (_backends, mut pen) = pen();
    let client = |_| {
        let mut client = Client::to_path(&pen.control_path());
        client.send(DOWN);
        client
    };
    let mut waiting: Vec<Client> = (0..PLACES).map(client).collect();
    are_taken(&|line| pen.control(line));
    pen.terminate();
    told(&mut waiting);
    let (_backends, mut pen, control) = pen_over_tcp();
    let mut waiting: Vec<Client> = (0..PLACES).map(|_| sends(control, DOWN)).collect();
    are_taken(&|line| sends(control, &format!("{line}\n")).text());
    pen.terminate();
    told(&mut waiting);
}

#[test]
fn that_a_server_was_removed_is_told_at_once() {
    let (_backends, pen) = pen();
    pen.control("server b blacklist 600");
    let client = |line: &str| {
        let mut client = Client::to_path(&pen.control_path());
        client.send(line);
        client
    };
    let mut waiting: Vec<Client> = (0..PLACES).map(|_| client("wait b up 86400\n")).collect();
    wait_until("all places to be taken", || pen.control("wait b up 0").contains("16 commands wait already"));
    assert_eq!(pen.control("no server b"), "");
    for client in &mut waiting {
        let reply = client.text();
        assert!(reply.starts_with("error: wait: server b ("), "{reply}");
        assert!(reply.ends_with(") is not up, and will not be: it was removed\n"), "{reply}");
    }
}
