//! How a server is chosen: the rules of server-selection, seen from outside.

use std::collections::BTreeMap;

use crate::support::backend::{Backend, greeters};
use crate::support::{Client, Pen, Setup, wait_until};

/// A pen before greeters A, B, C and so on; `limits` stand behind their ports.
fn pen(options: &str, limits: &[&str]) -> (Vec<Backend>, Pen) {
    let backends = greeters(limits.len());
    let operands = backends.iter().zip(limits).map(|(b, limits)| format!("{}{limits}", b.address()));
    let pen = operands.fold(Setup::new().options(options), Setup::server).start();
    (backends, pen)
}

#[test]
fn round_robin_begins_after_the_first_server_and_takes_turns() {
    let (_backends, pen) = pen("-r", &["", "", "", ""]);
    assert_eq!(pen.choices([2, 2, 3, 4, 2, 5, 6, 2]), "B C D A B C D A");
}

#[test]
fn clients_are_sent_back_to_the_server_they_had() {
    let (_backends, pen) = pen("", &["", "", "", ""]);
    assert_eq!(pen.choices(2..8), "B C D A B C");
    assert_eq!(pen.choices(2..8), "B C D A B C");
    assert_eq!(pen.choices((2..8).rev()), "C B A D C B");
    assert_eq!(pen.choices([2, 2, 2]), "B B B");
}

#[test]
fn a_returning_client_takes_nobodys_turn() {
    let (_backends, pen) = pen("", &["", "", "", ""]);
    assert_eq!(pen.choices([2, 3, 2, 4, 2, 2, 5]), "B C B D B B A");
}

#[test]
fn the_table_forgets_the_least_recently_seen_client() {
    let (_backends, pen) = pen("-c 2", &["", "", "", ""]);
    assert_eq!(pen.choices([2, 3, 4]), "B C D");
    // The table holds .3 and .4; seeing .3 again makes .4 the older one.
    assert_eq!(pen.choices([4, 3]), "D C");
    assert_eq!(pen.choices([2, 3]), "A C");
    assert_eq!(pen.control("recent").lines().count(), 2);
}

#[test]
fn a_client_is_forgotten_after_tracking() {
    let (_backends, pen) = pen("-T 1", &["", "", ""]);
    assert_eq!(pen.choices([2, 3]), "B C");
    wait_until("the client to be older than a second", || {
        // `recent 1` still shows those who came exactly a second ago.
        !pen.control("recent 1").contains("127.0.0.2")
    });
    assert_eq!(pen.choice(2), "A");
}

#[test]
fn settings_of_selection_change_while_pen_runs() {
    let (_backends, pen) = pen("", &["", "", ""]);
    assert_eq!(pen.choices([2, 2, 2]), "B B B");
    pen.control("roundrobin");
    assert_eq!(pen.choices([2, 2, 2]), "C A B");
    pen.control("no roundrobin");
    let again = pen.choice(2);
    assert_eq!(pen.choice(2), again);
}

#[test]
fn weight_gives_connections_in_proportion() {
    let (_backends, pen) = pen("-W", &[":0:0:1", ":0:0:2", ":0:0:3", ":0:0:0"]);
    assert_eq!(pen.choices_held(2..14), "A B C C B C A B C C B C");
    pen.becomes_idle();
}

#[test]
fn weight_gives_short_connections_in_proportion_too() {
    let (_backends, pen) = pen("-W", &[":0:0:1", ":0:0:2", ":0:0:3", ":0:0:0"]);
    let mut names = Vec::new();
    for n in 2..14 {
        names.push(pen.choice(n));
        pen.becomes_idle();
    }
    let count = |name: &str| names.iter().filter(|n| *n == name).count();
    assert_eq!(["A", "B", "C", "D"].map(count), [2, 4, 6, 0], "{names:?}");
    let (_backends, pen) = self::pen("-W", &[":0:0:5", ":0:0:5"]);
    for (n, name) in (2..).zip(["A", "B", "A", "B", "A", "B"]) {
        assert_eq!(pen.choice(n), name);
        pen.becomes_idle();
    }
}

#[test]
fn weights_of_zero_serve_nobody_and_that_is_said_at_start() {
    let (_backends, pen) = pen("-W", &["", ""]);
    pen.says("weight");
    assert_eq!(pen.choices([2, 3]), "EOF EOF");
}

#[test]
fn prio_prefers_the_lowest_and_goes_on_by_rank() {
    let (_backends, pen) = pen("-r", &[":0:0:0:3", ":0:0:0:1", ":0:0:0:2", ":0:0:0:1"]);
    pen.control("prio");
    assert_eq!(pen.choices_held(2..6), "B D B D");
    pen.control("server 1 blacklist 100");
    assert_eq!(pen.choices_held(2..5), "D D D");
    pen.control("server 3 blacklist 100");
    assert_eq!(pen.choices_held(2..5), "C C C");
    pen.control("server 2 blacklist 100");
    assert_eq!(pen.choices_held(2..5), "A A A");
    pen.control("server 0 blacklist 100");
    assert_eq!(pen.choices(2..4), "EOF EOF");
    pen.control("server 2 blacklist 0");
    assert_eq!(pen.choice(2), "C");
}

#[test]
fn a_remembered_server_goes_before_prio_and_its_failover_after_prio() {
    let (_backends, pen) = pen("", &[":0:0:0:3", ":0:0:0:1", ":0:0:0:4", ":0:0:0:2"]);
    pen.control("prio");
    assert_eq!(pen.choices([2, 3]), "B B");
    pen.control("server 1 blacklist 100");
    // C pen went on by index, to C; the rule says the lowest rank that is left.
    assert_eq!(pen.choices([2, 4]), "D D");
}

#[test]
fn prio_goes_before_weight() {
    let (_backends, pen) = pen("-W", &[":0:0:9:2", ":0:0:1:1"]);
    pen.control("prio");
    assert_eq!(pen.choices_held(2..6), "B B B B");
}

/// Whom each of these clients gets, with no memory at play.
fn map(pen: &Pen, clients: &[String]) -> BTreeMap<String, String> {
    clients.iter().map(|c| (c.clone(), Client::from(c, pen.address).line())).collect()
}

fn far_apart() -> Vec<String> {
    let near = (2..50).map(|n| format!("127.0.0.{n}"));
    let far = (1..25).flat_map(|n| [format!("127.{n}.0.1"), format!("127.0.{n}.1")]);
    near.chain(far).collect()
}

#[test]
fn hash_sends_a_client_to_the_same_server_without_memory() {
    let (_backends, pen) = pen("-N", &["", "", "", ""]);
    let clients = far_apart();
    let first = map(&pen, &clients);
    assert_eq!(first, map(&pen, &clients));
    // The whole address counts: C pen took its first octet and sent all of 127/8 to one server.
    for name in ["A", "B", "C", "D"] {
        let served = first.values().filter(|n| *n == name).count();
        assert!(served >= 5, "{name} has {served} of {}", clients.len());
    }
}

#[test]
fn hash_moves_only_the_clients_of_a_server_that_goes_or_comes() {
    let (_backends, pen) = pen("-N", &["", "", "", ""]);
    let clients = far_apart();
    let before = map(&pen, &clients);
    pen.control("server 2 blacklist 100");
    for (client, now) in map(&pen, &clients) {
        let was = &before[&client];
        assert!(now == *was || was == "C", "{client} moved from {was} to {now}");
        assert_ne!(now, "C");
    }
    pen.control("server 2 blacklist 0");
    assert_eq!(map(&pen, &clients), before);
    let fifth = Backend::greeter("E");
    pen.control(&format!("server 4 address 127.0.0.1 port {}", fifth.port()));
    let after = map(&pen, &clients);
    let moved = clients.iter().filter(|c| after[*c] != before[*c]).collect::<Vec<_>>();
    assert!(moved.iter().all(|c| after[*c] == "E"));
    assert!(!moved.is_empty() && moved.len() < clients.len() / 2, "{} moved", moved.len());
}

#[test]
fn hash_is_only_the_first_choice_of_a_client_that_is_remembered() {
    let (_backends, pen) = pen("-h", &["", "", "", ""]);
    let first = pen.choice(2);
    let number = first.as_bytes()[0] - b'A';
    pen.control(&format!("server {number} blacklist 100"));
    let second = pen.choice(2);
    assert_ne!(first, second);
    pen.control(&format!("server {number} blacklist 0"));
    assert_eq!(pen.choice(2), second);
}

#[test]
fn hash_with_round_robin_counts_the_port_in() {
    let (_backends, pen) = pen("-h -r", &["", "", "", ""]);
    let names: std::collections::BTreeSet<_> = (0..40).map(|_| pen.choice(2)).collect();
    assert!(names.len() > 1);
}

#[test]
fn a_client_that_client_acl_denies_gets_the_abuse_server_or_nothing() {
    let emergency = Backend::greeter("emergency");
    let abuse = Backend::greeter("abuse");
    let backends = greeters(3);
    let setup = || Setup::new().command("acl 1 deny 127.0.0.3").command("client_acl 1").servers(&backends);
    let pen = setup().option("-e", emergency.address().to_string()).start();
    // C pen sent .3 to the emergency server.
    assert_eq!(pen.choices([2, 3, 4]), "B EOF C");
    let pen = setup().option("-B", abuse.address().to_string()).start();
    assert_eq!(pen.choices([2, 3, 4, 3]), "B abuse C abuse");
    drop(abuse);
    wait_until("the abuse server to be gone", || pen.choice(3) == "EOF");
}

#[test]
fn a_denied_client_takes_no_place_in_the_table_of_clients() {
    let abuse = Backend::greeter("abuse");
    let backends = greeters(3);
    let setup = || {
        let rules = ["clients_max 2", "acl 1 deny 127.0.0.9", "acl 1 deny 127.0.0.10", "client_acl 1"];
        rules.into_iter().fold(Setup::new(), |setup, rule| setup.command(rule)).servers(&backends)
    };
    for (pen, denied) in
        [(setup().start(), "EOF"), (setup().option("-B", abuse.address().to_string()).start(), "abuse")]
    {
        assert_eq!(pen.choices([2, 3]), "B C");
        // In C pen these two took the places of the first two.
        assert_eq!(pen.choices([9, 10]), format!("{denied} {denied}"));
        let (_held, name) = pen.hold(9);
        assert_eq!(name, denied);
        if denied == "abuse" {
            // Those before it may not be over yet, so that its number is not known.
            let of_nobody =
                |n: u32| pen.control(&format!("connection {n}")).contains("client = -1, server = -2");
            assert!((0..4).any(of_nobody));
        }
        let recent = pen.control("recent");
        assert!(!recent.contains("127.0.0.9") && !recent.contains("127.0.0.10"), "{recent}");
        assert!(
            recent.contains("127.0.0.2 connects 1") && recent.contains("127.0.0.3 connects 1"),
            "{recent}"
        );
        assert_eq!(pen.choices([2, 3]), "B C");
    }
}

#[test]
fn emergency_and_abuse_are_not_remembered() {
    let emergency = Backend::greeter("emergency");
    let abuse = Backend::greeter("abuse");
    let backends = greeters(2);
    let pen = Setup::new()
        .options(format!("-e {} -B {}", emergency.address(), abuse.address()))
        .servers(&backends)
        .start();
    pen.control("server 0 blacklist 100");
    pen.control("server 1 blacklist 100");
    assert_eq!(pen.choices([2, 3]), "emergency emergency");
    pen.control("server 0 blacklist 0");
    assert_eq!(pen.choices([2, 3]), "A A");
    pen.control("acl 2 deny 127.0.0.2");
    pen.control("client_acl 2");
    assert_eq!(pen.choices([2]), "abuse");
    pen.control("client_acl 0");
    assert_eq!(pen.choices([2]), "A");
}

#[test]
fn without_servers_a_client_is_closed_at_once() {
    let pen = Setup::new().start();
    assert_eq!(pen.choices([2, 3]), "EOF EOF");
}

#[test]
fn port_zero_takes_a_server_out_and_a_port_brings_it_in() {
    let (backends, pen) = pen("-r", &["", "", ""]);
    pen.control("server 1 port 0");
    assert_eq!(pen.choices([2, 2, 2, 2]), "C A C A");
    pen.control(&format!("server 1 port {}", backends[1].port()));
    assert_eq!(pen.choices([2, 2, 2]), "B C A");
    // A new slot has no port until it is given one.
    pen.control("server 3 address 127.0.0.1");
    assert_eq!(pen.choices([2, 2, 2]), "B C A");
}

#[test]
fn a_change_of_a_server_reaches_those_who_remember_it() {
    let (_backends, pen) = pen("", &["", "", ""]);
    let other = Backend::greeter("other");
    assert_eq!(pen.choices([2, 3]), "B C");
    pen.control(&format!("server 1 port {}", other.port()));
    assert_eq!(pen.choices([2, 3]), "other C");
}

#[test]
fn stubborn_closes_rather_than_choose_another() {
    let (_backends, pen) = pen("-s", &["", "", ""]);
    assert_eq!(pen.choices([2, 3]), "B C");
    pen.control("server 1 blacklist 100");
    assert_eq!(pen.choices([2, 3, 2]), "EOF C EOF");
    pen.control("no stubborn");
    assert_eq!(pen.choices([2]), "C");
}
