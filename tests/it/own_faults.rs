//! What goes wrong on pen's side of a connect: no server is blamed, and the next one is tried.

use std::time::{Duration, Instant};

use crate::support::backend::{Backend, greeters};
use crate::support::client::End;
use crate::support::namespace::inside;
use crate::support::tls::Pair;
use crate::support::tls_server::TlsServer;
use crate::support::tracer::Tracer;
use crate::support::udp::{Server, choices};
use crate::support::{Pen, Setup, skipped};

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

#[test]
fn an_event_port_without_room_blames_nobody() {
    let backends = greeters(2);
    let pen = Setup::new().options("-r").command("workers 1").servers(&backends).start();
    // As where the user watches as many sockets as it may.
    let Some(tracer) = Tracer::injecting(&pen, "epoll_ctl", "error=ENOSPC:when=1..4") else {
        return skipped("event port", "no strace");
    };
    let choices: Vec<String> = (0..40).map(|_| pen.choice(2)).collect();
    drop(tracer);
    let failed = choices.iter().filter(|name| *name == "EOF").count();
    assert!(failed <= 4, "{failed} of 40: {choices:?}");
    blames_nobody(&pen);
}

#[test]
fn a_tls_handshake_with_a_server_that_lacks_memory_is_made_again() {
    let authority = Pair::root("ca");
    let servers = ["a", "b"].map(|name| TlsServer::new(&authority.issue(name)).greeter(name));
    for (call, error) in [("sendto", "ENOBUFS"), ("sendto", "ENOMEM"), ("recvfrom", "ENOBUFS")] {
        let lines = servers.iter().enumerate().map(|(n, server)| {
            let (ip, port) = (server.address().ip(), server.address().port());
            format!("server {n} address {ip} port {port} tls on tls_verify off")
        });
        let setup = Setup::new().options("-r").command("workers 1");
        let pen = lines.fold(setup, |setup, line| setup.command(line)).start();
        let Some(tracer) = Tracer::injecting(&pen, call, &format!("error={error}:when=1..3")) else {
            return skipped("handshake", "no strace");
        };
        for _ in 0..6 {
            assert!(["a", "b"].contains(&pen.client().line().split(' ').next().unwrap()), "{call} {error}");
        }
        drop(tracer);
        blames_nobody(&pen);
        pen.says("cannot connect to servers: TLS handshake: ");
    }
}

#[test]
fn a_check_that_lacks_memory_says_nothing_about_its_server() {
    let web = Backend::new(|mut client| client.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    let name_server = Server::named("A");
    for (check, call, error) in [
        ("type http", "sendto", "ENOBUFS"),
        ("type http", "recvfrom", "ENOMEM"),
        ("type udp send x", "sendto", "ENOMEM"),
        ("type udp send x", "recvfrom", "ENOBUFS"),
        ("type udp send x", "sendto", "EINTR"),
        ("type http", "sendto", "ENOMEM"),
    ] {
        let is_udp = check.starts_with("type udp");
        let address = if is_udp { name_server.address } else { web.address() };
        let setup = Setup::new().command(format!("check it {check} every 0.1 timeout 9 fall 1"));
        let setup = setup.command("check_default it").options(if is_udp { "-U" } else { "-r" });
        let pen = setup.server(address).start();
        pen.says("is up: check it");
        let Some(tracer) = Tracer::injecting(&pen, call, &format!("error={error}:when=1..3")) else {
            return skipped("check", "no strace");
        };
        pen.says("cannot check server 0");
        drop(tracer);
        pen.says("checking server 0");
        assert!(!pen.stderr().contains("is down"), "{check}, {call} {error}: {}", pen.stderr());
    }
}

#[test]
fn a_connection_whose_bytes_find_no_memory_is_reset() {
    let echo = Backend::echo();
    for options in ["", "-H", "batch"] {
        for when in [1, 2] {
            let setup = Setup::new().command("workers 1");
            let setup = if options == "batch" { setup.command("no batch") } else { setup.options(options) };
            let pen = setup.server(echo.address()).start();
            let mut client = pen.client();
            let Some(tracer) = Tracer::injecting(&pen, "sendto", &format!("error=ENOBUFS:when={when}"))
            else {
                return skipped("send", "no strace");
            };
            client.send("GET / HTTP/1.0\r\n\r\n");
            assert!(matches!(client.end(), End::Reset), "{options}, send {when}");
            drop(tracer);
            pen.says("is cut: No buffer space available");
            blames_nobody(&pen);
        }
    }
}

#[test]
fn answers_of_udp_that_find_no_memory_are_not_asked_for_without_a_pause() {
    let server = Server::named("A");
    let pen = Setup::new().options("-U").command("no batch").server(server.address).start();
    assert_eq!(choices(pen.address, [2]), "A");
    let Some(tracer) = Tracer::injecting(&pen, "recvfrom", "error=ENOMEM:when=1..40") else {
        return skipped("receive", "no strace");
    };
    let begin = Instant::now();
    assert_eq!(choices(pen.address, [2]), "A");
    // Two calls at most for each pause of 10 ms, the second for the errors of ICMP.
    assert!(begin.elapsed() >= Duration::from_millis(150), "{:?}", begin.elapsed());
    drop(tracer);
    blames_nobody(&pen);
}
