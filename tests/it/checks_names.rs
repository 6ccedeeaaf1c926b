//! Checks of servers that are names with several addresses.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use crate::support::backend::Backend;
use crate::support::namespace::inside;
use crate::support::port::reserve;
use crate::support::tls::Pair;
use crate::support::tls_server::TlsServer;
use crate::support::udp::{Server, choices};
use crate::support::{Client, Pen, Setup, wait_until};

use super::checks::{becomes, failure};
use super::names::{ASK_HERE, with_etc};

/// At 127.0.0.41 nobody is, at 43 one who is silent, and at 42 one who answers.
const HOSTS: &str = "127.0.0.1 localhost\n\
    127.0.0.41 away.example\n127.0.0.42 away.example\n\
    127.0.0.43 mute.example\n127.0.0.42 mute.example\n\
    127.0.0.41 none.example\n127.0.0.43 none.example\n";

/// The checks are tried with each of the names; the servers are in this order.
fn pen(setup: Setup, port: u16, checks: &[&str]) -> Pen {
    let mut setup = with_etc(setup, &[("resolv.conf", ASK_HERE), ("hosts", HOSTS)]);
    for (n, check) in checks.iter().enumerate() {
        setup = setup.command(format!("check c{n} {check} every 0.1 timeout 1 fall 1"));
    }
    let names = ["away", "mute", "none"].iter().enumerate();
    for (at, name) in names {
        for n in 0..checks.len() {
            let slot = at * checks.len() + n;
            setup = setup.command(format!("server {slot} address {name}.example port {port} check c{n}"));
        }
    }
    setup.start()
}

#[test]
fn a_check_by_datagrams_tries_each_address() {
    if !inside("it::checks_names::a_check_by_datagrams_tries_each_address") {
        return;
    }
    let well = Server::on(([127, 0, 0, 42], 0).into(), |question| {
        let mut answer = question.to_vec();
        match answer.get_mut(2..4) {
            Some(flags) if question.len() > 12 => flags.copy_from_slice(&[0x80, 0]),
            _ => answer = b"A".to_vec(),
        }
        vec![answer]
    });
    let port = well.address.port();
    let mute = Server::on(SocketAddr::from(([127, 0, 0, 43], port)), |_| Vec::new());
    let pen = pen(Setup::new().options("-U -r"), port, &["type udp send x expect A", "type dns"]);
    (0..4).for_each(|n| becomes(&pen, n, "up"));
    mute.peers(1);
    // The one that is asked last is silent.
    (4..6).for_each(|n| assert_eq!(failure(&pen, n), "no answer after 1 s"));
    // What answers the check is what clients get.
    for n in [0, 1, 3] {
        pen.control(&format!("server {n} state maint"));
    }
    assert_eq!(choices(pen.address, [2, 3]), "A A");
}

#[test]
fn a_program_is_run_for_each_address() {
    if !inside("it::checks_names::a_program_is_run_for_each_address") {
        return;
    }
    let setup = Setup::new();
    let script = "#!/bin/sh\ncase $2,$5 in *.42,0.5) echo 0;; *.43,*) sleep 1000;; *) echo -1;; esac\n";
    let program = setup.write("program", script);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let pen = pen(setup, 9, &[&format!("type exec program {program}")]);
    becomes(&pen, 0, "up");
    becomes(&pen, 1, "up");
    assert_eq!(failure(&pen, 2), "no end of the program after 1 s");
}

/// The names two.example, with two addresses, and lone.example, where nobody is at the second.
fn with_two(setup: Setup) -> Setup {
    let hosts = "127.0.0.1 localhost\n127.0.0.43 two.example\n127.0.0.42 two.example\n\
        127.0.0.43 lone.example\n127.0.0.41 lone.example\n";
    with_etc(setup, &[("resolv.conf", ASK_HERE), ("hosts", hosts)])
}

/// The addresses of two.example, at a port that is free.
fn addresses_of_two() -> (u16, [SocketAddr; 2]) {
    let port = reserve(Ipv4Addr::UNSPECIFIED);
    (port, [43, 42].map(|n| SocketAddr::from(([127, 0, 0, n], port))))
}

/// What a server does with a connection.
type Manner = fn(Client);

/// Reads a request up to its empty line.
fn request(client: &mut Client) {
    while !["", "\r"].contains(&client.line().as_str()) {}
}

fn answer(mut client: Client, text: &str) {
    request(&mut client);
    client.send(text);
}

/// A web server that answers with its name.
fn web(mut client: Client) {
    request(&mut client);
    client.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nA\n");
    client.rest();
}

/// A name server over TCP.
fn dns(mut client: Client) {
    let length = client.bytes(2);
    let mut message = client.bytes(usize::from(u16::from_be_bytes([length[0], length[1]])));
    message[2] |= 0x80;
    client.send([length, message].concat());
}

fn silent(mut client: Client) {
    client.rest();
}

fn closes(_: Client) {}

fn resets(client: Client) {
    client.reset();
}

fn resets_after_the_request(mut client: Client) {
    request(&mut client);
    client.reset();
}

fn cuts_the_head(client: Client) {
    answer(client, "HTTP/1.1 20");
}

fn cuts_the_body(client: Client) {
    answer(client, "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhalf");
}

fn cuts_the_message(mut client: Client) {
    client.bytes(2);
    client.send([0, 40, 1, 2, 3]);
}

const HTTP: &str = "type http body A";
const SEND: &str = "type send send \"GET / HTTP/1.0\\r\\n\\r\\n\" expect \"200 OK\"";
const DNS: &str = "type dns";
const TLS: &str = "type tcp tls on verify off";

#[test]
fn a_check_over_a_connection_goes_on_where_an_address_gives_no_answer() {
    if !inside("it::checks_names::a_check_over_a_connection_goes_on_where_an_address_gives_no_answer") {
        return;
    }
    // The check, what is at the first address, and what is at the second one.
    let cases: [(&str, Manner, Option<Manner>); 15] = [
        (HTTP, silent, Some(web)),
        (HTTP, closes, Some(web)),
        (HTTP, resets, Some(web)),
        (HTTP, resets_after_the_request, Some(web)),
        (HTTP, cuts_the_head, Some(web)),
        (HTTP, cuts_the_body, Some(web)),
        (SEND, silent, Some(web)),
        (SEND, closes, Some(web)),
        (SEND, resets_after_the_request, Some(web)),
        (DNS, silent, Some(dns)),
        (DNS, closes, Some(dns)),
        (DNS, cuts_the_message, Some(dns)),
        // The second one speaks TLS.
        (TLS, silent, None),
        (TLS, closes, None),
        (TLS, cuts_the_head, None),
    ];
    let hosts = "127.0.0.1 localhost\n127.0.0.43 two.example\n127.0.0.42 two.example\n";
    let mut setup = with_etc(Setup::new(), &[("resolv.conf", ASK_HERE), ("hosts", hosts)]);
    let identity = Pair::root("two.example");
    let mut servers = Vec::new();
    for (n, (check, first, second)) in cases.into_iter().enumerate() {
        let (port, [at_first, at_second]) = addresses_of_two();
        servers.push(Backend::on(&at_first.into(), first));
        servers.push(match second {
            Some(second) => Backend::on(&at_second.into(), second),
            None => TlsServer::new(&identity).serve_on(at_second, |mut tls| drop(tls.rest())),
        });
        setup = setup
            .command(format!("check c{n} {check} every 0.1 timeout 4 fall 1"))
            .command(format!("server {n} address two.example port {port} check c{n}"));
    }
    let pen = setup.start();
    for (n, (check, ..)) in cases.iter().enumerate() {
        assert_eq!(
            pen.control(&format!("wait {n} up 20")),
            "",
            "{n}, {check}: {}",
            pen.control("json checks")
        );
    }
    for pair in servers.chunks(2) {
        wait_until("each address to be asked", || pair.iter().all(|server| server.accepted() > 0));
    }
    assert!(!pen.stderr().contains(") is down"), "{}", pen.stderr());
}

#[test]
fn after_a_wrong_answer_the_next_address_is_asked_and_the_first_wrong_one_is_the_reason() {
    if !inside(
        "it::checks_names::after_a_wrong_answer_the_next_address_is_asked_and_the_first_wrong_one_is_the_reason",
    ) {
        return;
    }
    let cases: [(&str, Manner, &str); 4] = [
        (HTTP, |c| answer(c, "HTTP/1.1 503 x\r\n\r\n"), "status 503, expected 200-399"),
        (
            HTTP,
            |c| answer(c, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nB"),
            "status 200, but the body does not hold 'A'",
        ),
        (HTTP, |c| answer(c, "HTTP/1.1 200 OK\r\n\r\nB"), "status 200, but the body does not hold 'A'"),
        (SEND, |c| answer(c, "500"), "expected '200 OK', got '500'"),
    ];
    let mut setup = with_two(Setup::new());
    let mut servers = Vec::new();
    for (n, (check, first, _)) in cases.into_iter().enumerate() {
        let (port, [at_first, at_second]) = addresses_of_two();
        servers.push((Backend::on(&at_first.into(), first), Backend::on(&at_second.into(), web)));
        let (well, lone) = (2 * n, 2 * n + 1);
        setup = setup
            .command(format!("check c{n} {check} every 0.1 timeout 4 fall 1"))
            .command(format!("server {well} address two.example port {port} check c{n}"))
            .command(format!("server {lone} address lone.example port {port} check c{n}"));
    }
    let pen = setup.start();
    for (n, (.., reason)) in cases.iter().enumerate() {
        becomes(&pen, 2 * n, "up");
        // Nobody listens at its second address.
        assert_eq!(failure(&pen, 2 * n + 1), *reason);
    }
}

#[test]
fn an_address_that_answers_wrongly_is_not_asked_first_from_then_on() {
    if !inside("it::checks_names::an_address_that_answers_wrongly_is_not_asked_first_from_then_on") {
        return;
    }
    let (port, [at_first, at_second]) = addresses_of_two();
    let works = Arc::new(AtomicBool::new(false));
    let does_work = Arc::clone(&works);
    let _first = Backend::on(&at_first.into(), move |client| {
        if does_work.load(SeqCst) {
            web(client);
        }
    });
    let _second = Backend::on(&at_second.into(), |client| answer(client, "HTTP/1.1 503 x\r\n\r\n"));
    let setup = with_two(Setup::new());
    let pen = setup
        .command("check it type http every 0.1 timeout 4 fall 1")
        .command(format!("server 0 address two.example port {port} check it"))
        .start();
    assert_eq!(failure(&pen, 0), "status 503, expected 200-399");
    works.store(true, SeqCst);
    becomes(&pen, 0, "up");
}

#[test]
fn clients_are_connected_to_the_address_that_answers_the_check() {
    if !inside("it::checks_names::clients_are_connected_to_the_address_that_answers_the_check") {
        return;
    }
    let (port, [at_first, at_second]) = addresses_of_two();
    let frozen = Arc::new(AtomicBool::new(false));
    let is_frozen = Arc::clone(&frozen);
    let _first = Backend::on(&at_first.into(), move |mut client| {
        request(&mut client);
        if !is_frozen.load(SeqCst) {
            client.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nB\n");
        }
        client.rest();
    });
    let second = Backend::on(&at_second.into(), web);
    let setup = with_two(Setup::new());
    let pen = setup
        .command("check it type http every 0.1 timeout 4 fall 1")
        .command(format!("server 0 address two.example port {port} check it"))
        .start();
    becomes(&pen, 0, "up");
    let request = || {
        let mut client = pen.client();
        client.send("GET / HTTP/1.0\r\n\r\n");
        client
    };
    let name = |mut client: Client| {
        (0..3).for_each(|_| _ = client.line());
        client.line()
    };
    let ask = || name(request());
    // The frozen address gives no answer.
    let answers =
        || Some(request()).filter(|client| !client.is_silent_for(Duration::from_millis(300))).map(name);
    assert_eq!([(); 3].map(|()| ask()), ["B"; 3]);
    assert_eq!(second.accepted(), 0);
    frozen.store(true, SeqCst);
    wait_until("clients to be served by the other address", || answers().as_deref() == Some("A"));
    assert_eq!([(); 10].map(|()| ask()), ["A"; 10]);
    // Back again, when that one is away.
    frozen.store(false, SeqCst);
    second.stop();
    wait_until("clients to be served by the first address", || answers().as_deref() == Some("B"));
    assert_eq!([(); 10].map(|()| ask()), ["B"; 10]);
    assert!(!pen.stderr().contains(") is down"), "{}", pen.stderr());
}

#[test]
fn flows_leave_an_address_that_the_check_finds_silent() {
    if !inside("it::checks_names::flows_leave_an_address_that_the_check_finds_silent") {
        return;
    }
    let (port, [at_first, at_second]) = addresses_of_two();
    let silent = Arc::new(AtomicBool::new(false));
    let is_silent = Arc::clone(&silent);
    let _first =
        Server::on(
            at_first,
            move |_| {
                if is_silent.load(SeqCst) { Vec::new() } else { vec![b"first".to_vec()] }
            },
        );
    let _second = Server::on(at_second, |_| vec![b"second".to_vec()]);
    let setup = with_two(Setup::new().options("-U"));
    let pen = setup
        .command("check it type udp send x every 0.1 timeout 2 fall 1")
        .command(format!("server 0 address two.example port {port} check it"))
        .start();
    becomes(&pen, 0, "up");
    let client = UdpSocket::bind("127.0.0.9:0").unwrap();
    client.connect(pen.address).unwrap();
    client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let ask = || {
        client.send(b"question").unwrap();
        let mut answer = [0; 16];
        client.recv(&mut answer).map(|length| String::from_utf8_lossy(&answer[..length]).into_owned())
    };
    wait_until("an answer", || ask().is_ok_and(|name| name == "first"));
    silent.store(true, SeqCst);
    // From the same port: it is the same flow.
    wait_until("an answer of the other address", || ask().is_ok_and(|name| name == "second"));
}
