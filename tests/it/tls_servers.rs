//! TLS towards servers: whom pen takes for the right one, and what follows when it is not.

use std::fs;
use std::net::SocketAddr;

use openssl::ssl::SslVersion;

use crate::support::backend::BlackHole;
use crate::support::client::End;
use crate::support::pen::run_pen;
use crate::support::tls::{Kind, Pair, TlsClient};
use crate::support::tls_server::TlsServer;
use crate::support::{Backend, Client, Pen, Setup};

/// A pen that trusts `authority`, with commands.
pub(super) fn pen(authority: &Pair, commands: &[&str], change: impl FnOnce(Setup) -> Setup) -> Pen {
    let setup = Setup::new();
    fs::write(setup.path().join("ca.pem"), authority.cert_pem()).unwrap();
    let trust = format!("server_cacert_file {}", setup.file("ca.pem"));
    let setup = setup.command(trust);
    let setup = commands.iter().fold(setup, |setup, line| setup.command(line));
    change(setup.servers([])).start()
}

/// What `--check` says of these options.
fn checked(options: &[&str]) -> String {
    let output = run_pen([&["--check"], options].concat());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The words that put a server at `address` in a slot.
pub(super) fn at(n: usize, address: SocketAddr, rest: &str) -> String {
    format!("server {n} address {} port {} {rest}", address.ip(), address.port())
}

#[test]
fn a_server_s_name_is_asked_for_and_verified() {
    let authority = Pair::root("ca");
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        for kind in [Kind::Ec, Kind::Rsa] {
            let identity = authority.issue_as("app.example.com", kind, (-1, 30));
            let server = TlsServer::new(&identity).version(version).greeter("A");
            let line = at(0, server.address(), "tls on tls_name app.example.com");
            let pen = pen(&authority, &[&line], |s| s);
            assert_eq!(pen.client().line(), "A app.example.com");
        }
    }
    // A name as the address is what is asked for; an address is verified as such, and asks for nothing.
    let server = TlsServer::new(&authority.issue("localhost")).greeter("A");
    let port = server.port();
    let by_name = pen(&authority, &[&format!("server 0 address localhost port {port} tls on")], |s| s);
    assert_eq!(by_name.client().line(), "A localhost");
    let server = TlsServer::new(&authority.issue("127.0.0.1")).greeter("A");
    let by_address = pen(&authority, &[&at(0, server.address(), "tls on")], |s| s);
    assert_eq!(by_address.client().line(), "A -");
}

#[test]
fn a_server_that_is_not_the_right_one_has_failed_and_the_next_one_serves() {
    let (authority, other) = (Pair::root("ca"), Pair::root("other"));
    let name = "app.example.com";
    let expired = authority.issue_as(name, Kind::Ec, (-9, -2));
    let early = authority.issue_as(name, Kind::Ec, (2, 9));
    let good = TlsServer::new(&authority.issue(name)).greeter("good");
    for (identity, reason) in [
        (authority.issue("wrong.example.com"), "hostname mismatch, expected app.example.com"),
        (expired, "certificate has expired"),
        (early, "certificate is not yet valid"),
        (other.issue(name), "unable to get local issuer certificate"),
    ] {
        let bad = TlsServer::new(&identity).greeter("bad");
        let lines = [
            at(0, bad.address(), &format!("tls on tls_name {name} prio 1")),
            at(1, good.address(), &format!("tls on tls_name {name} prio 2")),
        ];
        let pen = pen(&authority, &["prio", &lines[0], &lines[1]], |s| s);
        // What the client has sent meanwhile is for the server that takes it.
        assert_eq!(pen.client().line(), "good app.example.com");
        pen.says(&format!("s: TLS: its certificate is refused: {reason}"));
        let why = pen.control("why 127.0.0.9");
        let told = why.lines().find(|line| line.starts_with("server 0 (")).unwrap();
        assert!(told.contains("it failed, and stays blacklisted for ") && told.contains(reason), "{why}");
        assert_eq!(pen.control("server 0 tls_verify off blacklist 0"), "");
        assert_eq!(Client::from("127.0.0.8", pen.address).line(), format!("bad {name}"));
    }
}

#[test]
fn whatever_keeps_a_handshake_from_its_end_is_a_failed_connect() {
    let authority = Pair::root("ca");
    let good = TlsServer::new(&authority.issue("app")).echo();
    let plain = Backend::greeter("plain");
    let resetter = Backend::resetter();
    let closer = Backend::new(drop);
    let old = TlsServer::new(&authority.issue("app")).version(SslVersion::TLS1_1).greeter("old");
    let silent = Backend::new(|mut client| _ = client.rest());
    let hole = BlackHole::new();
    for (address, reason) in [
        (plain.address(), "TLS handshake: wrong version number"),
        (resetter.address(), "TLS handshake: Connection reset by peer"),
        (closer.address(), "TLS handshake: "),
        (old.address(), "TLS handshake: "),
        (silent.address(), "TLS handshake: timed out"),
        (hole.address(), "connect timed out"),
    ] {
        let lines = [
            at(0, address, "tls on tls_name app prio 1"),
            at(1, good.address(), "tls on tls_name app prio 2"),
        ];
        let timeout = if reason.ends_with("timed out") { "timeout 3" } else { "timeout 60" };
        let pen = pen(&authority, &["prio", timeout, &lines[0], &lines[1]], |s| s);
        let mut client = pen.client();
        client.send("said before there was a server");
        client.finish();
        assert_eq!(client.text(), "said before there was a server");
        pen.says(&format!("s: {reason}"));
        assert!(pen.control("why 127.0.0.9").contains(reason));
    }
}

#[test]
fn a_client_certificate_is_shown_to_servers_that_ask() {
    let authority = Pair::root("ca");
    let identity = authority.intermediate("below").issue("pen");
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let server =
            TlsServer::new(&authority.issue("app")).version(version).demands(&authority).greeter("A");
        let line = at(0, server.address(), "tls on tls_name app");
        let with = pen(&authority, &[&line], |setup| {
            identity.write(setup.path(), "client");
            let cert = format!("server_certfile {}", setup.file("client.crt"));
            let key = format!("server_keyfile {}", setup.file("client.key"));
            setup.command(cert).command(key)
        });
        assert_eq!(with.client().line(), "A app");
        let without = pen(&authority, &[&line], |s| s);
        if version == SslVersion::TLS1_2 {
            assert_eq!(without.client().rest(), b"");
            without.says("s: TLS handshake: ");
        } else {
            // A server says so when the handshake is over for its client (RFC 8446 4.4.2.4).
            assert_eq!(without.client().end(), End::Reset);
        }
    }
}

#[test]
fn tls_on_one_side_both_sides_and_neither() {
    let authority = Pair::root("ca");
    let secure = TlsServer::new(&authority.issue("app")).echo();
    let plain = Backend::echo();
    let secure_line = at(0, secure.address(), "tls on tls_name app");
    let plain_line = at(0, plain.address(), "");
    let noise = super::tls::noise(3_000_000);
    for server in [&secure_line, &plain_line] {
        let both = pen(&authority, &[server], |setup| {
            authority.issue("localhost").write(setup.path(), "pen");
            let (cert, key) = (setup.file("pen.crt"), setup.file("pen.key"));
            setup.option("-E", cert).option("-K", key)
        });
        let mut tls = TlsClient::new(&authority).name("localhost").connect(both.address);
        let sent = noise[..200_000].to_vec();
        for chunk in sent.chunks(10_000) {
            tls.send(chunk);
            assert!(tls.bytes(chunk.len()) == chunk);
        }
        tls.finish();
        assert_eq!(tls.text(), "");
        let one = pen(&authority, &[server], |s| s);
        one.client().is_echoed(&noise);
    }
}

#[test]
fn http_headers_reach_tls_servers() {
    let authority = Pair::root("ca");
    let (heads, head) = std::sync::mpsc::channel();
    let server = TlsServer::new(&authority.issue("app")).serve(move |mut tls| {
        let mut lines = Vec::new();
        loop {
            let line = tls.line();
            if line == "\r" {
                break;
            }
            lines.push(line.trim_end().to_owned());
        }
        tls.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        heads.send(lines).unwrap();
        tls.rest();
    });
    let line = at(0, server.address(), "tls on tls_name app");
    let pen = pen(&authority, &[&line], |s| s.options("-H"));
    let mut client = pen.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.line(), "HTTP/1.1 200 OK\r");
    let lines = head.recv_timeout(std::time::Duration::from_secs(20)).unwrap();
    assert!(lines.contains(&"X-Forwarded-For: 127.0.0.1".to_owned()), "{lines:?}");
}

#[test]
fn the_emergency_server_serves_when_no_certificate_is_right() {
    let authority = Pair::root("ca");
    let bad = TlsServer::new(&authority.issue("wrong")).greeter("bad");
    let emergency = Backend::greeter("emergency");
    let special = format!("emergency {}", emergency.address());
    let pen = pen(&authority, &[&at(0, bad.address(), "tls on tls_name app"), &special], |s| s);
    assert_eq!(pen.client().line(), "emergency");
}

#[test]
fn a_tls_server_at_a_path_has_the_name_that_it_is_given() {
    let authority = Pair::root("ca");
    let directory = crate::support::directory::directory();
    let path = directory.file("socket");
    let server = TlsServer::new(&authority.issue("app")).greeter_at_path(path.as_ref(), "A");
    let line = format!("server 0 address {path} tls on tls_name app");
    assert_eq!(pen(&authority, &[&line], |s| s).client().line(), "A app");
    let output = checked(&["-O", &format!("server 0 address {path} tls on"), "127.0.0.1:0"]);
    assert!(
        output.contains(
            "server 0 tls_name: expected a host name or an IP address, since a Unix socket has none, or tls_verify off, got nothing"
        ),
        "{output}"
    );
    drop(server);
}

#[test]
fn a_last_resort_may_speak_tls() {
    let authority = Pair::root("ca");
    let (regular, sorry) = (Backend::greeter("A"), TlsServer::new(&authority.issue("sorry")).greeter("B"));
    let lines = [at(0, regular.address(), ""), at(1, sorry.address(), "prio 9 tls on tls_name sorry")];
    let pen = pen(&authority, &["prio", &lines[0], &lines[1]], |s| s);
    (2..6).for_each(|n| assert_eq!(pen.choice(n), "A"));
    drop(regular);
    (2..6).for_each(|n| assert_eq!(pen.choice(n), "B sorry"));
}

#[test]
fn what_cannot_be_is_refused() {
    let setup = Setup::new();
    fs::write(setup.path().join("bad.pem"), "nothing").unwrap();
    let bad = setup.file("bad.pem");
    for (lines, error) in [
        (
            vec!["udp", "server 0 address 127.0.0.1 port 1 tls on"],
            "-U (udp) excludes server 0 tls: TLS needs connections",
        ),
        (
            vec!["server 0 address 127.0.0.1 port 1 tls_name /x"],
            "server 0 tls_name: expected a host name or an IP address, got '/x'",
        ),
        (
            vec!["server 0 address 127.0.0.1 port 1 tls maybe"],
            "server 0 tls: expected on or off, got 'maybe'",
        ),
        (
            vec!["server 0 address 127.0.0.1 port 1 tls on", "server_ciphers NONE"],
            "server_ciphers: OpenSSL knows no cipher of 'NONE'",
        ),
        (
            vec!["server 0 address 127.0.0.1 port 1 tls on", &format!("server_cacert_file {bad}")],
            "bad.pem: contains no certificate in PEM form",
        ),
        (
            vec!["server 0 address 127.0.0.1 port 1 tls on", &format!("server_certfile {bad}")],
            "bad.pem: contains no certificate in PEM form",
        ),
        (
            vec!["server_protocol tls9"],
            "server_protocol: expected ssl23, ssl2, ssl3, tls1, tls1.2 or tls1.3, got 'tls9'",
        ),
    ] {
        let mut args = Vec::new();
        lines.iter().for_each(|line| args.extend(["-O", line]));
        args.push("127.0.0.1:0");
        let output = checked(&args);
        assert!(output.contains(error), "{lines:?}: {output}");
    }
}

#[test]
fn a_running_pen_takes_tls_up_and_reads_its_files_again() {
    let (authority, other) = (Pair::root("ca"), Pair::root("other"));
    let server = TlsServer::new(&other.issue("app")).greeter("A");
    let pen = pen(&authority, &["blacklist 0", &at(0, server.address(), "")], |s| s);
    assert_eq!(pen.control("server 0 tls on tls_name app"), "");
    assert_eq!(pen.client().rest(), b"");
    pen.says("its certificate is refused: unable to get local issuer certificate");
    fs::write(pen.path().join("ca.pem"), "damaged").unwrap();
    assert!(
        pen.control("ssl_reload")
            .contains("ca.pem: contains no certificate in PEM form; the old files stay in use")
    );
    fs::write(pen.path().join("ca.pem"), other.cert_pem()).unwrap();
    assert_eq!(pen.control("ssl_reload"), "");
    assert_eq!(pen.client().line(), "A app");
    let protocol = TlsServer::new(&other.issue("app")).version(SslVersion::TLS1_2).greeter("B");
    assert_eq!(pen.control(&at(0, protocol.address(), "")), "");
    assert_eq!(pen.client().line(), "B app");
    assert_eq!(pen.control("server_protocol tls1.3"), "");
    assert_eq!(pen.client().rest(), b"");
    assert_eq!(pen.control("no server_protocol"), "");
    assert_eq!(pen.client().line(), "B app");
    assert!(pen.control("server_ciphers NONE").contains("knows no cipher of 'NONE'"));
    assert_eq!(pen.client().line(), "B app");
}

#[test]
fn checks_speak_tls_as_clients_connections_do() {
    let authority = Pair::root("ca");
    let server = TlsServer::new(&authority.issue("app")).serve(|mut tls| {
        tls.send("hello");
        tls.rest();
    });
    let quick = "every 0.2 rise 1 fall 1 timeout 5";
    let pen = pen(
        &authority,
        &[
            &format!("check same type send expect hello {quick}"),
            "check plain type send expect hello tls off timeout 0.5 every 0.2 rise 1 fall 1",
            &format!("check sni type send expect hello sni other {quick}"),
            &format!("check any type send expect hello sni other verify off {quick}"),
            &at(0, server.address(), "tls on tls_name app check same"),
            &at(1, server.address(), "tls on tls_name app check plain"),
            &at(2, server.address(), "tls on tls_name app check sni"),
            &at(3, server.address(), "tls on tls_name app check any"),
            &at(4, server.address(), "tls on tls_name other check same"),
        ],
        |s| s,
    );
    for (n, state) in ["up", "down", "down", "up", "down"].iter().enumerate() {
        assert_eq!(pen.control(&format!("wait {n} {state} 20")), "", "{}", pen.stderr());
    }
}
