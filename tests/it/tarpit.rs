//! Clients that `tarpit_acl` denies are held, at next to no cost.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::backend::greeters;
use crate::support::client::End;
use crate::support::http::{admin_of, get};
use crate::support::process;
use crate::support::{Client, Pen, Setup, skipped, wait_until};

/// A pen that holds 127.0.0.7.
fn setup() -> Setup {
    Setup::new().command("acl 3 deny 127.0.0.7").command("tarpit_acl 3").command("admin %")
}

fn metric(pen: &Pen, name: &str) -> usize {
    let metrics = get(admin_of(pen), "/metrics").body;
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name}: {metrics}")).parse().unwrap()
}

fn held(pen: &Pen) -> usize {
    metric(pen, "pen_tarpit_connections")
}

#[test]
fn a_client_that_the_list_denies_is_held_and_fed_nothing() {
    let backends = greeters(1);
    for portable in ["0", "1", "oneshot"] {
        let pen = setup().options("-x 3").environment("PEN_PORTABLE", portable).servers(&backends).start();
        let mut bad: Vec<Client> = (0..20).map(|_| pen.client_from(7)).collect();
        wait_until("them to be held", || held(&pen) == 20);
        bad[0].send("GET / HTTP/1.0\r\n\r\n");
        assert!(bad.iter().all(|client| client.is_silent_for(Duration::from_millis(5))));
        // They take nothing from the others, and no server sees them.
        assert_eq!(pen.choices_held([2, 3, 4]), "A A A");
        assert!(!pen.control("recent").contains("127.0.0.7"));
        // Those that end, reset or have ended after data are let go.
        bad.remove(0).finish();
        bad.remove(0).reset();
        drop(bad.remove(0));
        wait_until("them to be let go", || held(&pen) == 17);
        assert_eq!(metric(&pen, "pen_tarpit_results_total{result=\"held\"}"), 20);
    }
}

#[test]
fn a_client_that_is_no_longer_denied_is_let_go() {
    let backends = greeters(1);
    let pen = setup().servers(&backends).start();
    assert_eq!(pen.control("tarpit_acl"), "tarpit_acl = 3\n");
    let mut bad = pen.client_from(7);
    wait_until("it to be held", || held(&pen) == 1);
    pen.control("no acl 3");
    assert_eq!(bad.end(), End::Clean);
    assert_eq!(pen.choice(7), "A");
    pen.control("acl 3 deny 127.0.0.7");
    let mut bad = pen.client_from(7);
    wait_until("it to be held", || held(&pen) == 1);
    // As in C pen, or as everything else is turned off.
    assert_eq!(pen.control("tarpit_acl -1"), "tarpit_acl = -1\n");
    assert_eq!(bad.end(), End::Clean);
    assert_eq!(pen.control("tarpit_acl"), "tarpit_acl = -1\n");
    pen.control("tarpit_acl 3");
    assert_eq!(pen.control("no tarpit_acl"), "tarpit_acl = -1\n");
    let error =
        "error: tarpit_acl: expected a number from 0 to 9 (the number of a list), or -1 for none, got '10'\n";
    assert_eq!(pen.control("tarpit_acl 10"), error);
    assert_eq!(pen.choice(7), "A");
}

#[test]
fn a_client_that_a_proxy_names_is_closed() {
    let backends = greeters(1);
    let proxied = setup().command("proxy_protocol accept").command("acl 4 permit 127.0.0.2");
    let pen = proxied.command("acl 4 default deny").command("proxy_acl 4").servers(&backends).start();
    let mut bad = pen.client_from(2);
    bad.send(crate::support::proxy::v1("127.0.0.7:1000", "192.0.2.1:80"));
    assert_eq!(bad.end(), End::Clean);
    assert_eq!(held(&pen), 0);
    let mut good = pen.client_from(2);
    good.send(crate::support::proxy::v1("127.0.0.8:1000", "192.0.2.1:80"));
    assert_eq!(good.line(), "A");
    // The list is not about the proxy.
    let mut bad = pen.client_from(7);
    wait_until("it to be held", || held(&pen) == 1);
    bad.finish();
    assert_eq!(bad.end(), End::Clean);
}

#[test]
fn the_end_of_pen_waits_for_none_of_them() {
    let backends = greeters(1);
    let mut pen = setup().command("stop_timeout 1000").servers(&backends).start();
    let mut bad = pen.client_from(7);
    wait_until("it to be held", || held(&pen) == 1);
    pen.signal(Signal::SIGTERM);
    assert_eq!(bad.end(), End::Clean);
    pen.wait();
}

#[test]
fn without_descriptors_for_them_they_are_closed() {
    let backends = greeters(1);
    // As many connections as there are descriptors for.
    let pen = setup().wrapper("prlimit --nofile=300").options("-x 4000").servers(&backends).start();
    assert_eq!(metric(&pen, "pen_tarpit_connections_limit"), 0);
    assert_eq!(pen.client_from(7).end(), End::Clean);
    pen.says("tarpit_acl: 0 connections are held");
    assert_eq!(pen.choice(2), "A");
}

/// Five thousand of them, each with less than a kilobyte.
#[test]
fn many_cost_next_to_nothing() {
    const MANY: usize = 5_000;
    let backends = greeters(1);
    let pen = setup().servers(&backends).start();
    if metric(&pen, "pen_tarpit_connections_limit") < MANY {
        return skipped("many_cost_next_to_nothing", "there are too few descriptors");
    }
    // What the first answer costs is not theirs.
    let before = {
        held(&pen);
        process::resident(pen.pid())
    };
    let clients: Vec<Client> = (0..MANY).map(|_| pen.client_from(7)).collect();
    wait_until("them to be held", || held(&pen) == MANY);
    let each = process::resident(pen.pid()).saturating_sub(before) * 1024 / MANY as u64;
    assert!(each < 256, "{each} bytes each");
    drop(clients);
    wait_until("them to be let go", || held(&pen) == 0);
}
