//! `sni_server`: servers by the server name of TLS that pen does not end.

use std::io::Write as _;

use nix::sys::signal::Signal;
use openssl::ssl::SslVersion;

use crate::support::client::Client;
use crate::support::pen::run_pen;
use crate::support::proxy::v1;
use crate::support::tls::{Pair, TlsClient, client_hello_for};
use crate::support::tls_server::TlsServer;
use crate::support::{Backend, Pen, Setup, wait_until};

/// A pen before three servers, each with a certificate for all names: A is for one name, B for a pattern, C for no name.
fn start(authority: &Pair, change: impl FnOnce(Setup) -> Setup) -> (Pen, Vec<Backend>) {
    let backends: Vec<Backend> =
        ["A", "B", "C"].iter().map(|name| TlsServer::new(&authority.issue("any")).greeter(name)).collect();
    let setup = Setup::new()
        .servers(&backends)
        .command("server 1 name web")
        .command("sni_server www.example.com 0")
        .command("sni_server *.Example.com web");
    (change(setup).start(), backends)
}

fn asks(authority: &Pair, name: &str, version: SslVersion, pen: &Pen) -> String {
    let client = TlsClient::new(authority).trusting().version(version);
    let client = if name.is_empty() { client } else { client.name(name) };
    client.connect(pen.address).line()
}

#[test]
fn a_client_gets_the_servers_of_the_name_that_it_asks_for() {
    let authority = Pair::root("ca");
    let (pen, _backends) = start(&authority, |s| s);
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        // The client has had other servers before: the name decides all the same.
        for (name, expected) in [
            ("www.example.com", "A www.example.com"),
            ("mail.example.com", "B mail.example.com"),
            ("www.example.org", "C www.example.org"),
            ("WWW.EXAMPLE.COM", "A WWW.EXAMPLE.COM"),
            ("a.mail.example.com", "C a.mail.example.com"),
            ("", "C -"),
        ] {
            assert_eq!(asks(&authority, name, version, &pen), expected);
        }
    }
    assert_eq!(
        pen.control("show sni_server"),
        "sni_server www.example.com 0\nsni_server *.example.com web\n"
    );
    assert_eq!(pen.control("sni_server *.example.com 2"), "");
    assert_eq!(asks(&authority, "mail.example.com", SslVersion::TLS1_3, &pen), "C mail.example.com");
    let told = pen.control("sni_server a.b nobody");
    assert!(told.contains("expected the name of a server, got 'nobody'"), "{told}");
    let told = pen.control("sni_server a/b 0");
    assert!(told.contains("sni_server: expected a host name, or *. and a host name, and servers"), "{told}");
}

#[test]
fn a_server_that_fails_is_replaced_by_another_of_the_same_name_only() {
    let authority = Pair::root("ca");
    let (pen, mut backends) = start(&authority, |s| s.command("sni_server www.example.com 0 web"));
    drop(backends.remove(0));
    assert_eq!(asks(&authority, "www.example.com", SslVersion::TLS1_3, &pen), "B www.example.com");
    drop(backends.remove(0));
    let client = TlsClient::new(&authority).trusting().name("www.example.com").try_connect(pen.address);
    assert!(client.is_err(), "another server serves it");
    assert_eq!(asks(&authority, "other.org", SslVersion::TLS1_3, &pen), "C other.org");
}

#[test]
fn a_hello_in_pieces_is_passed_on_untouched() {
    let recorder = Backend::recorder("");
    let other = Backend::recorder("");
    let pen = Setup::new().servers([&other, &recorder]).command("sni_server www.example.com 1").start();
    let hello = client_hello_for("www.example.com");
    // One byte a piece, and then in records of one byte.
    let mut client = pen.client();
    for byte in &hello {
        client.0.write_all(&[*byte]).unwrap();
    }
    client.finish();
    assert_eq!(recorder.received_by(0), hello);
    let split: Vec<u8> = hello[5..].iter().flat_map(|byte| [0x16, 3, 1, 0, 1, *byte]).collect();
    let mut client = pen.client();
    client.send(&split);
    client.finish();
    assert_eq!(recorder.received_by(1), split);
    // What is no ClientHello, or none that ends, goes to a server without a name.
    for (n, bytes) in
        [b"GET / HTTP/1.0\r\n\r\n".to_vec(), hello[..40].to_vec(), Vec::new()].iter().enumerate()
    {
        let mut client = pen.client();
        client.send(bytes);
        client.finish();
        assert_eq!(&other.received_by(n), bytes);
    }
}

#[test]
fn what_comes_at_once_with_a_proxy_header_is_passed_on_whole() {
    let (other, named) = (Backend::recorder(""), Backend::recorder(""));
    let setup = Setup::new().servers([&other, &named]).command("sni_server www.example.com 1");
    let pen = setup.command("proxy_protocol require").start();
    let header = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n";
    // More than a ClientHello may be long, in what pen reads first.
    let bytes: Vec<u8> = (0..10_000_u32).flat_map(u32::to_be_bytes).collect();
    pen.signal(Signal::SIGSTOP);
    let mut client = pen.client();
    client.send([header, &bytes[..]].concat());
    client.finish();
    pen.signal(Signal::SIGCONT);
    assert!(other.received_by(0) == bytes);
}

#[test]
fn a_client_that_waits_for_a_server_and_resets_leaves_the_queue() {
    let server = Backend::recorder("");
    let setup =
        Setup::new().server(format!("{}:1", server.address())).command("sni_server www.example.com 0");
    let pen = setup.command("queue_max 10").command("timeout 1000").start();
    let hello = client_hello_for("www.example.com");
    let mut held = pen.client();
    held.send(&hello);
    wait_until("a connection", || pen.servers()[0].conn == 1);
    let mut waits = pen.client();
    waits.send(&hello);
    super::queue::becomes(&pen, 1);
    waits.reset();
    super::queue::becomes(&pen, 0);
}

#[test]
fn a_name_is_found_behind_the_header_of_a_proxy() {
    let authority = Pair::root("ca");
    let (pen, _backends) = start(&authority, |setup| {
        let setup = setup.command("acl 3 permit 127.0.0.2").command("acl 3 default deny");
        setup.command("proxy_acl 3").command("proxy_protocol require")
    });
    for (name, expected) in [("www.example.com", "A"), ("mail.example.com", "B"), ("www.example.org", "C")] {
        for together in [true, false] {
            let mut client = pen.client_from(2);
            client.0.set_tcp_cork(together).unwrap();
            client.send(v1("203.0.113.5:1", "192.0.2.1:443"));
            let twin = client.twin();
            let mut tls = std::thread::scope(|scope| {
                let tls = TlsClient::new(&authority).trusting().name(name);
                let shaken = scope.spawn(|| tls.over(client).unwrap());
                twin.0.set_tcp_cork(false).unwrap();
                shaken.join().unwrap()
            });
            assert_eq!(tls.line(), format!("{expected} {name}"));
        }
    }
    assert!(pen.control("recent").starts_with("203.0.113.5 connects 6 "), "{}", pen.control("recent"));
}

#[test]
fn in_http_mode_tls_passes_and_requests_without_it_get_their_headers() {
    let authority = Pair::root("ca");
    let (tls, web) = (TlsServer::new(&authority.issue("any")).greeter("A"), Backend::http("web"));
    let setup = Setup::new().options("-H").servers([&tls, &web]).command("sni_server www.example.com 0");
    let pen = setup.start();
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        assert_eq!(asks(&authority, "www.example.com", version, &pen), "A www.example.com");
    }
    let mut client = pen.client();
    client.send("GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n");
    assert_eq!(client.line(), "HTTP/1.1 200 OK\r");
    drop(client);
    let request = String::from_utf8(web.received_by(0)).unwrap();
    assert!(request.contains("X-Forwarded-For: 127.0.0.1\r\n"), "{request}");
}

#[test]
fn a_client_that_says_nothing_gets_a_server_in_time() {
    let greeter = Backend::greeter("first to speak");
    let named = Backend::greeter("named");
    let setup = Setup::new().servers([&greeter, &named]).command("sni_server www.example.com 1");
    let pen = setup.command("timeout 1").start();
    assert_eq!(Client::to(pen.address).line(), "first to speak");
}

#[test]
fn where_it_cannot_be_it_is_refused_or_told() {
    let output = run_pen(["--check", "-U", "-O", "sni_server a.b 0", "127.0.0.1:0", "127.0.0.1:1"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("-U (udp) excludes sni_server: TLS needs connections"), "{told}");
    let authority = Pair::root("ca");
    let backend = Backend::greeter("A");
    let pen = super::tls::pen(&authority, crate::support::tls::Kind::Ec, &backend, |setup| {
        setup.command("sni_server localhost 0")
    });
    pen.says("sni_server: has no effect: with ssl_certfile (-E) pen ends TLS itself");
    assert_eq!(TlsClient::new(&authority).name("localhost").connect(pen.address).line(), "A");
}
