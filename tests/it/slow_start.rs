//! Which servers begin slowly: those that were down or in maintenance, and not those whose check changes.

use crate::support::backend::{Backend, greeters};
use crate::support::{Pen, Setup};

use super::checks::becomes;

/// The lines of a file with two servers, of which one cannot hold 16 clients.
fn lines(backends: &[Backend], check: &str) -> String {
    let server = |(n, backend): (usize, &Backend)| {
        format!("server {n} address 127.0.0.1 port {} max 10\n", backend.port())
    };
    let servers: String = backends.iter().enumerate().map(server).collect();
    format!("slowstart 3600\ncheck it {check}\ncheck other type tcp every 0.1\ncheck_default it\n{servers}")
}

/// Whether a server is in slow start.
fn is_slow(pen: &Pen, server: usize) -> bool {
    let why = pen.control("why 127.0.0.99");
    let line = why.lines().find(|line| line.starts_with(&format!("server {server} ("))).unwrap();
    line.contains("it is in slow start")
}

#[test]
fn a_change_of_a_check_closes_no_client_of_a_server_that_is_well() {
    let backends = greeters(2);
    let setup = Setup::new();
    let file = setup.write("file", lines(&backends, "every 0.1"));
    let pen = setup.options(format!("-r -F {file}")).start();
    let all_are_served = |after: &str| {
        (0..2).for_each(|n| becomes(&pen, n, "up"));
        let served = pen.choices_held(2..18);
        assert!(!served.contains("EOF"), "{after}: {served}\n{}", pen.control("why 127.0.0.99"));
        assert_eq!([0, 1].map(|n| is_slow(&pen, n)), [false, false], "{after}");
        pen.becomes_idle();
    };
    all_are_served("the start");
    let [first, own] = [0, 1].map(|n| format!("server 1 port {}", backends[n].port()));
    for change in [
        "check it every 0.2",
        "check_default other",
        "check_default it",
        "server 1 check none",
        "server 1 check default",
        "server 1 proxy v1",
        "server 1 proxy off",
        &first,
        &own,
    ] {
        let reply = pen.control(change);
        assert!(!reply.starts_with("error"), "{change}: {reply}");
        all_are_served(change);
    }
    std::fs::write(&file, lines(&backends, "every 0.3")).unwrap();
    let reply = pen.control("reload");
    assert!(!reply.starts_with("error"), "{reply}");
    all_are_served("a reload");
}

#[test]
fn a_change_of_a_check_keeps_the_slow_start_of_a_server_that_was_down() {
    let mut backends = greeters(2);
    let setup = Setup::new();
    let file = setup.write("file", lines(&backends, "every 0.1 fall 1"));
    let pen = setup.options(format!("-r -F {file}")).start();
    becomes(&pen, 1, "up");
    let address = backends.remove(1).stop();
    becomes(&pen, 1, "down");
    // The result of the new check is the first one.
    pen.control("check it every 3600");
    becomes(&pen, 1, "down");
    let _again = Backend::greeter_on(&address, "B");
    pen.control("check it every 0.1");
    becomes(&pen, 1, "up");
    assert!(is_slow(&pen, 1), "{}", pen.control("why 127.0.0.99"));
    pen.control("check it every 0.2");
    becomes(&pen, 1, "up");
    assert!(is_slow(&pen, 1), "it goes on");
    becomes(&pen, 0, "up");
    assert!(!is_slow(&pen, 0));
}
