//! Limits of each client, and who makes room when pen is full.

use std::time::Duration;

use serde_json::Value;

use crate::support::backend::greeters;
use crate::support::client::End;
use crate::support::tls::{Pair, TlsClient};
use crate::support::udp::{Asker, Server, choices};
use crate::support::{Backend, Client, Pen, Setup, wait_until};

#[test]
fn a_client_has_no_more_connections_than_it_may() {
    let backends = greeters(1);
    let pen = Setup::new().servers(&backends).start();
    let mut held = vec![pen.hold(2), pen.hold(2)];
    // Those that it has already count.
    assert_eq!(pen.control("client_conn_max 2"), "2\n");
    assert_eq!(pen.choices([2, 3, 2]), "EOF A EOF");
    pen.says("refusing connections of 127.0.0.2 and others like it: client_conn_max is 2");
    assert_eq!(pen.stderr().matches("refusing").count(), 1, "{}", pen.stderr());
    // What was refused is no connect, and changes nothing for the others.
    assert!(pen.control("recent").contains("127.0.0.2 connects 2 "));
    held.pop();
    wait_until("its place to be free", || pen.choice(2) == "A");
    pen.control("client_conn_max 0");
    assert_eq!(pen.choices_held([2, 2, 2, 2]), "A A A A");
}

#[test]
fn a_clients_own_count_does_not_depend_on_its_place_in_the_table() {
    let backends = greeters(1);
    let pen = Setup::new().command("clients_max 1").command("client_conn_max 1").servers(&backends).start();
    let _held = [pen.hold(2), pen.hold(3), pen.hold(4)];
    assert_eq!(pen.choices([2, 3, 4]), "EOF EOF EOF");
}

#[test]
fn a_client_begins_no_more_connections_than_it_may() {
    let backends = greeters(1);
    let setup = Setup::new().command("client_rate_max 3").command("client_rate_time 1000.5");
    let pen = setup.servers(&backends).start();
    assert_eq!(pen.control("client_rate_time"), "1000.5\n");
    assert_eq!(pen.choices([2, 2, 2, 2, 2, 3]), "A A A EOF EOF A");
    pen.says("client_rate_max is 3");
    pen.control(&format!("web_stats {}", pen.file("page")));
    assert!(pen.control("status").contains("Connections refused by limits of clients: 2"));
}

#[test]
fn a_mask_makes_a_network_one_client() {
    let backends = greeters(2);
    let pen =
        Setup::new().command("client_mask 24 64").command("client_conn_max 2").servers(&backends).start();
    assert_eq!(pen.control("client_mask"), "24 64\n");
    // 127.0.0.2 and 127.0.0.3 are one client, with one server; 127.0.1.2 is another one.
    let other = || {
        let mut client = Client::from("127.0.1.2", pen.address);
        (client.line(), client)
    };
    assert_eq!(pen.choices([2, 3]), "B B");
    pen.becomes_idle();
    let _held = [pen.hold(2), pen.hold(3)];
    assert_eq!(pen.choice(4), "EOF");
    assert_eq!(other().0, "A");
    assert!(pen.control("recent").contains("127.0.0.0 connects 4 "), "{}", pen.control("recent"));
    for bad in ["client_mask 33 64", "client_mask 24", "client_mask 24 129", "client_mask a b"] {
        let reply = pen.control(bad);
        assert!(reply.starts_with("error: client_mask: ") && reply.contains("0 to 32"), "{bad}: {reply}");
    }
    // Access lists judge the address itself, and the log and headers show it.
    pen.control("acl 1 deny 127.0.0.9");
    pen.control("client_acl 1");
    pen.control("client_conn_max 0");
    assert_eq!(pen.choices([8, 9]), "B EOF");
}

#[test]
fn a_client_over_its_limit_costs_no_handshake() {
    let (authority, greeter) = (Pair::root("authority"), Backend::greeter("A"));
    let setup = Setup::new();
    authority.issue("localhost").write(setup.path(), "pen");
    let options = format!("-E {} -K {}", setup.file("pen.crt"), setup.file("pen.key"));
    let pen = setup.options(options).command("client_conn_max 1").server(greeter.address()).start();
    let mut client = TlsClient::new(&authority).connect(pen.address);
    assert_eq!(client.line(), "A");
    let mut second = pen.client();
    assert_eq!(second.rest(), b"", "closed without a word");
}

#[test]
fn flows_of_a_client_are_limited_too() {
    let server = Server::mute();
    let pen = Setup::new().options("-U").command("client_conn_max 1").server(server.address).start();
    let first = Asker::new(2, pen.address);
    first.send(b"one");
    server.peers(1);
    Asker::new(2, pen.address).send(b"two");
    pen.says("client_conn_max is 1");
    let other = Server::named("A");
    pen.control(&format!("server 0 port {}", other.address.port()));
    assert_eq!(choices(pen.address, [3]), "A");
    assert_eq!(other.received().len(), 1);
}

fn connections(pen: &Pen) -> usize {
    let shown = |n: usize| pen.control(&format!("connection {n}"));
    (0..10).map(shown).filter(|s| s.contains("state = 1") || s.contains("state = 2")).count()
}

#[test]
fn a_pen_that_is_full_of_silent_clients_serves_one_that_speaks() {
    let echo = Backend::echo();
    for workers in [1, 3] {
        let setup = Setup::new().options("-x 5").command(format!("workers {workers}"));
        let pen = setup.server(echo.address()).start();
        let mut talker = pen.client_from(3);
        talker.send("hello");
        assert_eq!(talker.bytes(5), b"hello");
        let mut silent: Vec<Client> = (0..4).map(|_| pen.client_from(2)).collect();
        wait_until("pen to be full", || connections(&pen) == 5);
        for text in ["first", "other", "third"] {
            let mut client = pen.client_from(4);
            client.send(text);
            assert_eq!(client.bytes(5), text.as_bytes());
        }
        // The oldest has made room, and who had spoken was left alone.
        assert_eq!(silent[0].end(), End::Clean);
        talker.send("still");
        assert_eq!(talker.bytes(5), b"still");
    }
}

#[test]
fn a_client_takes_the_place_of_one_silent_client() {
    let echo = Backend::echo();
    for workers in [1, 3] {
        let setup = Setup::new().options("-x 4").command(format!("workers {workers}"));
        let pen = setup.server(echo.address()).start();
        let mut silent: Vec<Client> = (0..4).map(|_| pen.client_from(2)).collect();
        let are_old = || {
            let shown: Value = serde_json::from_str(&pen.control("json connections")).unwrap();
            let ages = shown["connections"]
                .as_array()
                .unwrap()
                .iter()
                .map(|row| row["age_seconds"].as_f64().unwrap());
            ages.filter(|age| *age > 1.0).count()
        };
        // Each of them could make room.
        wait_until("all to have been silent for a second", || are_old() == 4);
        let mut client = pen.client_from(3);
        for (n, text) in ["first", "other", "third"].into_iter().enumerate() {
            client.send(text);
            assert_eq!(client.bytes(5), text.as_bytes());
            assert_eq!(connections(&pen), 4, "{n}");
        }
        assert_eq!(silent[0].end(), End::Clean);
        assert!(silent[1..].iter().all(|client| client.is_silent_for(Duration::from_millis(1))), "{workers}");
    }
}

#[test]
fn a_handshake_that_is_not_made_makes_room() {
    let (authority, greeter) = (Pair::root("authority"), Backend::greeter("A"));
    let setup = Setup::new();
    authority.issue("localhost").write(setup.path(), "pen");
    let options = format!("-x 3 -t 1000 -E {} -K {}", setup.file("pen.crt"), setup.file("pen.key"));
    let pen = setup.options(options).server(greeter.address()).start();
    let _slow: Vec<Client> = (0..3).map(|_| pen.client()).collect();
    wait_until("pen to be full", || connections(&pen) == 3);
    let mut client = TlsClient::new(&authority).connect(pen.address);
    assert_eq!(client.line(), "A");
}

#[test]
fn who_has_been_spoken_to_makes_no_room() {
    let backends = greeters(1);
    let pen = Setup::new().options("-x 2").servers(&backends).start();
    let held = [pen.hold(2), pen.hold(3)];
    let mut third = pen.client_from(4);
    assert!(third.is_silent_for(Duration::from_millis(1500)));
    drop(held);
    assert_eq!(third.line(), "A");
}

#[test]
fn pen_is_no_server_of_its_own() {
    let backends = greeters(1);
    let pen = Setup::new().servers(&backends).start();
    let port = pen.address.port();
    for line in [
        format!("server 1 address 127.0.0.1 port {port}"),
        format!("emergency 127.0.0.1:{port}"),
        format!("abuse 127.0.0.1:{port}"),
    ] {
        let reply = pen.control(&line);
        assert!(reply.starts_with("error: ") && reply.contains("pen's own address"), "{line}: {reply}");
    }
    assert_eq!(pen.choices([2, 2]), "A A");
    let anywhere = Setup::new().listen("%").server(format!("127.0.0.1:{port}")).start();
    // On any address, this machine's own is pen's too.
    let own = anywhere.address.port();
    assert!(anywhere.control(&format!("server 0 port {own}")).contains("pen's own address"));
    for host in [Some("127.3.2.1"), Some("0.0.0.0"), interface().as_deref()].into_iter().flatten() {
        let reply = anywhere.control(&format!("server 1 address {host} port {own}"));
        assert!(reply.contains("pen's own address"), "{host}: {reply}");
    }
    // Its name is known later, and then that address is none of the server's.
    assert_eq!(anywhere.control(&format!("server 1 address localhost port {own}")), "");
    anywhere.says("localhost has pen's own address 127.0.0.1, which is not used");
    assert!(!anywhere.control("servers").contains("1 addr 127.0.0.1"));
    // At start, too.
    let named = Setup::new().listen("%").server("localhost").start();
    named.says("localhost has pen's own address 127.0.0.1, which is not used");
    assert_eq!(named.choice(2), "EOF");
    let socket = Setup::new();
    let path = socket.file("socket");
    let unix = socket.listen(path.clone()).servers(&backends).start();
    let link = unix.file("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    for server in [&path, &link] {
        let reply = unix.control(&format!("server 1 address {server}"));
        assert!(reply.contains("pen's own address"), "{server}: {reply}");
    }
}

/// An address of this machine that others know it by.
fn interface() -> Option<String> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip().to_string())
}
