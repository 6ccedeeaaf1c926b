//! Limits: of a server, of pen, and of what is in progress. Counts are exact whatever happens.

use std::process::Command;
use std::time::Duration;

use crate::support::backend::{Backend, BlackHole, Refusing, greeters};
use crate::support::{Client, Pen, Setup, skipped, wait_for, wait_until};

fn connections(pen: &Pen) -> Vec<i64> {
    pen.servers().iter().map(|s| s.conn).collect()
}

#[test]
fn the_soft_limit_sends_clients_on() {
    let backends = greeters(2);
    let pen = Setup::new().server(format!("{}:1", backends[0].address())).servers(&backends[1..]).start();
    assert_eq!(pen.choices_held(2..7), "B A B B B");
}

#[test]
fn the_hard_limit_lets_known_clients_in_beyond_the_soft_one() {
    let backends = greeters(2);
    let limited = |b: &Backend| format!("{}:1:2", b.address());
    let pen = backends.iter().map(limited).fold(Setup::new(), Setup::server).start();
    let mut held = Vec::new();
    // C pen let the last one in: the refused .4 had been counted out of B.
    for (client, server) in [(2, "B"), (3, "A"), (2, "B"), (3, "A"), (4, "EOF"), (2, "EOF")] {
        let (connection, name) = pen.hold(client);
        assert_eq!((client, name.as_str()), (client, server));
        held.push(connection);
    }
    assert_eq!(connections(&pen), [2, 2]);
    held.clear();
    pen.becomes_idle();
    assert_eq!(pen.choices([2, 3]), "B A");
}

#[test]
fn refused_clients_leave_no_trace_in_the_counts() {
    let backends = greeters(2);
    let limited = |b: &Backend| format!("{}:1", b.address());
    for options in ["", "-r", "-s"] {
        let pen = backends.iter().map(limited).fold(Setup::new().options(options), Setup::server).start();
        let _held = [pen.hold(2), pen.hold(3)];
        assert_eq!(pen.choices([4, 5, 4, 2]), "EOF EOF EOF EOF", "{options}");
        assert_eq!(connections(&pen), [1, 1], "{options}");
    }
}

#[test]
fn a_full_house_goes_to_the_emergency_server() {
    let backends = greeters(2);
    let emergency = Backend::greeter("E");
    let limited = |b: &Backend| format!("{}:1", b.address());
    let setup = Setup::new().option("-e", emergency.address().to_string());
    let pen = backends.iter().map(limited).fold(setup, Setup::server).start();
    assert_eq!(pen.choices_held([2, 3, 4, 5, 4]), "B A E E E");
}

#[test]
fn connects_in_progress_count_against_the_limit() {
    let hole = BlackHole::new();
    let backends = greeters(1);
    let pen =
        Setup::new().options("-r -t 5").servers(&backends).server(format!("{}:2", hole.address())).start();
    // The hole takes its two; everybody else is served by A at once. C pen let any number into it.
    let mut waiting = Vec::new();
    let mut served = 0;
    let mut most = 0;
    while served < 6 {
        let mut client = pen.client_from(2);
        let is_at_hole = wait_for("a server for the client", || {
            let more = pen.servers()[1].conn > waiting.len() as i64;
            (more || !client.is_silent_for(Duration::from_millis(1))).then_some(more)
        });
        if is_at_hole {
            waiting.push(client);
        } else {
            assert_eq!(client.line(), "A");
            served += 1;
        }
        most = most.max(pen.servers()[1].conn);
    }
    assert_eq!((waiting.len(), most), (2, 2));
    // When their time is over they are served elsewhere, and counted there.
    assert!(waiting.iter_mut().all(|client| client.line() == "A"));
    let expected = [2, 0];
    wait_until("the counts to be right", || connections(&pen) == expected);
}

#[test]
fn failed_connects_are_counted_out() {
    let refusing = Refusing::new();
    let backends = greeters(1);
    let pen = Setup::new().options("-r -b 0").server(refusing.address()).servers(&backends).start();
    for _ in 0..20 {
        assert_eq!(pen.choice(2), "A");
    }
    pen.becomes_idle();
    assert_eq!(connections(&pen), [0, 0]);
}

#[test]
fn a_live_change_of_a_limit_counts_those_who_are_there() {
    let backends = greeters(1);
    let pen = Setup::new().servers(&backends).start();
    let _held = [pen.hold(2), pen.hold(3)];
    pen.control("server 0 max 2");
    assert_eq!(pen.choice(4), "EOF");
    pen.control("server 0 max 3");
    assert_eq!(pen.choice(4), "A");
}

#[test]
fn beyond_conn_max_clients_wait_in_the_backlog() {
    let backends = greeters(1);
    let pen = Setup::new().options("-x 2").servers(&backends).start();
    let first = pen.hold(2);
    let _second = pen.hold(3);
    let mut third = pen.client_from(4);
    assert!(third.is_silent_for(Duration::from_millis(100)));
    assert_eq!(backends[0].accepted(), 2);
    drop(first);
    assert_eq!(third.line(), "A");
    let mut fourth = pen.client_from(5);
    assert!(fourth.is_silent_for(Duration::from_millis(50)));
    assert_eq!(pen.control("conn_max 3"), "3\n");
    assert_eq!(fourth.line(), "A");
    // It only grows.
    assert_eq!(pen.control("conn_max 1"), "3\n");
}

#[test]
fn waiting_clients_are_served_in_any_number_of_workers() {
    let backends = greeters(1);
    for workers in [1, 4] {
        let pen =
            Setup::new().options("-x 1").command(format!("workers {workers}")).servers(&backends).start();
        let mut clients: Vec<Client> = (0..8).map(|_| pen.client()).collect();
        let mut served = 0;
        // Whoever is served leaves, so that the next one is.
        while !clients.is_empty() {
            let at = clients.iter_mut().position(|c| !c.is_silent_for(Duration::from_millis(5)));
            if let Some(at) = at {
                drop(clients.swap_remove(at));
                served += 1;
            }
        }
        assert_eq!(served, 8);
    }
}

#[test]
fn pending_max_bounds_the_connects_in_progress() {
    let hole = BlackHole::new();
    let pen = Setup::new().options("-r -t 1").command("pending_max 1").server(hole.address()).start();
    let clients: Vec<Client> = (0..5).map(|_| pen.client()).collect();
    wait_until("one connect in progress", || pen.servers()[0].conn >= 1);
    let sockets = || {
        let text = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let port = format!(":{:04X}", hole.address().port());
        // State 02 is SYN_SENT. While other sockets come and go the file may have a line twice: local addresses are counted.
        let own = text.lines().filter_map(|line| match line.split_whitespace().collect::<Vec<_>>()[..] {
            [_, local, remote, "02", ..] if remote.ends_with(&port) => Some(local.to_owned()),
            _ => None,
        });
        own.collect::<std::collections::BTreeSet<String>>().len()
    };
    let mut most = 0;
    wait_until("all to be closed", || {
        most = most.max(sockets());
        pen.servers()[0].conn == 0
    });
    assert_eq!(most, 1);
    drop(clients);
    // Nothing leaked: a server that answers is reached.
    let backends = greeters(1);
    pen.control(&format!("server 0 port {}", backends[0].port()));
    assert_eq!(pen.choices([2, 3, 4]), "A A A");
}

#[test]
fn the_queue_of_connections_to_accept_is_as_long_as_told() {
    for (setup, length) in
        [(Setup::new().options("-q 77"), "77"), (Setup::new().options("-q 78").command("workers 3"), "78")]
    {
        let pen = setup.start();
        let port = format!("sport = :{}", pen.address.port());
        let Ok(output) = Command::new("ss").args(["-l", "-t", "-n", "-H", &port]).output() else {
            return skipped("-q", "no ss");
        };
        // State, Recv-Q and Send-Q, which is the backlog of a socket that listens.
        let text = String::from_utf8(output.stdout).unwrap();
        let lengths: Vec<&str> = text.lines().filter_map(|l| l.split_whitespace().nth(2)).collect();
        assert!(!lengths.is_empty() && lengths.iter().all(|l| *l == length), "{text}");
    }
}
