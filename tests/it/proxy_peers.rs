//! PROXY headers with the programs of others: HAProxy and nginx in front of pen and behind it, Postfix and Dovecot behind
//! it.

use crate::support::daemons::postfix_with;
use crate::support::directory::{Directory, directory};
use crate::support::nginx::Nginx;
use crate::support::peer::Peer;
use crate::support::proxy::{v1, v2_with, values};
use crate::support::tls::{Pair, TlsClient};
use crate::support::{Backend, Client, Pen, Setup, is_root, skipped, wait_for};

use super::proxy_in::behind;
use super::tls_servers::{at, pen};

/// A client of a peer in front of pen; its address is not the peer's.
fn client_of(peer: &Peer) -> Client {
    Client::from("127.0.0.7", peer.address)
}

/// The certificates of the programs, of pen and of clients: `NAME.crt`, `NAME.key`, and both in `NAME.pem`.
fn certificates(authority: &Pair) -> Directory {
    let directory = directory();
    for name in ["edge", "pen", "app", "client"] {
        let pair = authority.issue(&format!("{name}.example.com"));
        pair.write(directory.path(), name);
        directory.write(&format!("{name}.pem"), pair.cert_pem() + &pair.key_pem());
    }
    directory.write("ca.pem", authority.cert_pem());
    directory
}

/// Has pen end TLS.
fn ending_tls(setup: Setup, files: &Directory) -> Setup {
    setup.option("-E", files.file("pen.crt")).option("-K", files.file("pen.key"))
}

#[test]
fn haproxy_in_front_names_the_client() {
    let recorder = Backend::recorder("done");
    let id = [&[5, 0, 12][..], b"of-127.0.0.7"].concat();
    for (words, tlvs) in [
        ("send-proxy", &[][..]),
        ("send-proxy-v2", &[]),
        // The checksum is that of this header only.
        ("send-proxy-v2 proxy-v2-options crc32c,unique-id", &id),
    ] {
        let start = |word| behind(word).command(at(0, recorder.address(), "proxy v2")).start();
        let front = |pen: &Pen, source: u8| {
            let line = format!("server pen {} source 127.0.0.{source} {words}", pen.address);
            Peer::haproxy(pen.path(), "", &format!("  unique-id-format of-%ci\n  {line}"))
        };
        let pen = start("require");
        let Some(peer) = front(&pen, 2) else { return skipped("HAProxy before pen", "there is no HAProxy") };
        let number = recorder.accepted();
        let mut client = client_of(&peer);
        let source = format!("127.0.0.7:{}", client.local_port());
        client.send("hello");
        client.finish();
        assert_eq!(client.text(), "done");
        let header = v2_with(&source, &peer.address.to_string(), tlvs);
        assert_eq!(recorder.received_by(number), [&header[..], b"hello"].concat(), "{words}");
        assert!(pen.control("recent").starts_with("127.0.0.7 connects 1 "), "{}", pen.control("recent"));
        // From an address that proxy_acl does not permit, its header never counts.
        let pen = start("require");
        let peer = front(&pen, 9).unwrap();
        client_of(&peer).end();
        pen.says("closing connections of 127.0.0.9:");
        assert_eq!(recorder.accepted(), number + 1);
        let pen = start("accept");
        let peer = front(&pen, 9).unwrap();
        let mut client = client_of(&peer);
        client.send("hello");
        client.finish();
        assert_eq!(client.text(), "done");
        let got = recorder.received_by(number + 1);
        let (own, forged) = got.split_at(28);
        assert_eq!(own[16..20], [127, 0, 0, 9]);
        assert!(forged.starts_with(b"PROXY ") || forged.starts_with(b"\r\n\r\n\0\r\nQUIT\n"));
        assert!(pen.control("recent").starts_with("127.0.0.9 connects 1 "), "{}", pen.control("recent"));
    }
}

#[test]
fn haproxy_in_front_may_end_tls_and_speak_it_with_pen() {
    let authority = Pair::root("ca");
    let files = certificates(&authority);
    let [edge, ca] = ["edge.pem", "ca.pem"].map(|name| files.file(name));
    let front = |pen: &Pen, rest: &str| {
        let options = "proxy-v2-options authority,ssl-cipher,cert-key,cert-sig,crc32c";
        let server = format!("server pen {} source 127.0.0.2 send-proxy-v2-ssl-cn {options}", pen.address);
        let bind = format!("ssl crt {edge} ca-file {ca} verify required alpn h2,http/1.1");
        Peer::haproxy(files.path(), &bind, &format!("  {server} {rest}"))
    };
    let connect = |peer: &Peer| {
        let me = authority.issue("me.example.com");
        let tls = TlsClient::new(&authority).name("edge.example.com").identity(&me).protocols(&["http/1.1"]);
        tls.over(client_of(peer)).unwrap()
    };
    // What it says of TLS goes on to the server.
    let recorder = Backend::recorder("done");
    let pen = behind("require").command(at(0, recorder.address(), "proxy v2")).start();
    let Some(peer) = front(&pen, "") else { return skipped("HAProxy before pen", "there is no HAProxy") };
    let mut tls = connect(&peer);
    let (version, cipher) = (tls.version().as_bytes().to_vec(), tls.cipher().as_bytes().to_vec());
    tls.send("hello");
    tls.finish();
    assert_eq!(tls.text(), "done");
    let got = recorder.received_by(0);
    assert!(got.ends_with(b"hello"), "{}", got.escape_ascii());
    let tlvs = values(&got[28..got.len() - 5]);
    assert!(tlvs.contains(&(2, b"edge.example.com".to_vec())), "{tlvs:?}");
    assert!(!tlvs.iter().any(|(kind, _)| *kind == 3), "a checksum of another header");
    let ssl = &tlvs.iter().find(|(kind, _)| *kind == 0x20).unwrap().1;
    assert_eq!(ssl[..5], [7, 0, 0, 0, 0]);
    let within = values(&ssl[5..]);
    for value in [(0x21, version), (0x22, b"me.example.com".to_vec()), (0x23, cipher)] {
        assert!(within.contains(&value), "{value:?} in {within:?}");
    }
    // Pen counts on it, and its own TLS with HAProxy begins behind the header.
    let web = Backend::http("A");
    let http = || behind("require").options("-H").command("http_forwarded replace").server(web.address());
    let with_pen =
        format!("ssl verify required ca-file {ca} sni str(pen.example.com) verifyhost pen.example.com");
    for (n, (setup, rest)) in [(http(), ""), (ending_tls(http(), &files), &with_pen)].into_iter().enumerate()
    {
        let pen = setup.start();
        let peer = front(&pen, rest).unwrap();
        let mut tls = connect(&peer);
        tls.send("GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: http\r\n\r\n");
        assert_eq!(tls.line(), "HTTP/1.1 200 OK\r");
        tls.finish();
        let request = String::from_utf8(web.received_by(n)).unwrap();
        assert!(request.contains("X-Forwarded-For: 127.0.0.7\r\n"), "{request}");
        assert!(request.contains("X-Forwarded-Proto: https\r\n"), "{request}");
    }
}

#[test]
fn nginx_in_front_names_the_client() {
    let authority = Pair::root("ca");
    let files = certificates(&authority);
    let [cert, key, ca] = ["edge.crt", "edge.key", "ca.pem"].map(|name| files.file(name));
    let recorder = Backend::recorder("done");
    let from_tls = format!("ssl_certificate {cert}; ssl_certificate_key {key};");
    let with_pen = format!(
        "proxy_ssl on; proxy_ssl_verify on; proxy_ssl_trusted_certificate {ca}; proxy_ssl_name pen.example.com; \
         proxy_ssl_server_name on;"
    );
    for (tls_in, tls_out) in [(false, false), (true, false), (false, true), (true, true)] {
        let setup = behind("require").command(at(0, recorder.address(), "proxy v1"));
        let pen = if tls_out { ending_tls(setup, &files) } else { setup }.start();
        let server = format!(
            "proxy_pass {}; proxy_bind 127.0.0.2; proxy_protocol on; proxy_half_close on; {} {}",
            pen.address,
            if tls_in { &from_tls } else { "" },
            if tls_out { &with_pen } else { "" }
        );
        let listen = if tls_in { "ssl" } else { "" };
        let Some(peer) = Peer::nginx_stream(files.path(), listen, &server) else {
            return skipped("nginx before pen", "there is no nginx with stream");
        };
        let (number, mut client) = (recorder.accepted(), client_of(&peer));
        let source = format!("127.0.0.7:{}", client.local_port());
        if tls_in {
            let mut tls = TlsClient::new(&authority).name("edge.example.com").over(client).unwrap();
            tls.send("hello");
            tls.finish();
            tls.rest();
        } else {
            client.send("hello");
            client.finish();
            assert_eq!(client.text(), "done");
        }
        let expected = [&v1(&source, &peer.address.to_string())[..], b"hello"].concat();
        let got = recorder.received_by(number);
        assert_eq!(got, expected, "{}", got.escape_ascii());
    }
}

/// What a server says in its page of the connection with pen.
fn page(mut client: Client) -> String {
    client.send("GET / HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n");
    let answer = client.text();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
    assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
    body.trim_end().to_owned()
}

/// A pen with TLS towards its server, or without, which the server is told of its clients by, and which checks it.
fn telling(authority: &Pair, files: &Directory, server: &str, change: impl FnOnce(Setup) -> Setup) -> Pen {
    let own = |name: &str| files.file(&format!("client.{name}"));
    let check = "check page type http every 0.2 rise 1 fall 1 timeout 5";
    pen(authority, &[check, "check_default page", server], |setup| {
        let setup = setup.command(format!("server_certfile {}", own("crt")));
        change(setup.command(format!("server_keyfile {}", own("key"))))
    })
}

#[test]
fn haproxy_behind_is_told_of_the_client() {
    let authority = Pair::root("ca");
    let files = certificates(&authority);
    let shown = "%ci:%cp|%fp|%[fc_pp_authority]|%[ssl_fc_sni]|%[ssl_c_s_dn(cn)]|%[ssl_fc_is_resumed]";
    let page_of = format!(
        "  mode http\n  http-request return status 200 content-type text/plain lf-string \"{shown}\""
    );
    let ssl = format!("ssl crt {} ca-file {} verify required", files.file("app.pem"), files.file("ca.pem"));
    for (bind, tls) in [("", ""), (&ssl, "tls on tls_name app.example.com")] {
        let bind = format!("accept-proxy {bind}");
        let Some(peer) = Peer::haproxy(files.path(), &bind, &page_of) else {
            return skipped("HAProxy behind pen", "there is no HAProxy");
        };
        for version in ["v1", "v2"] {
            let line = at(0, peer.address, &format!("proxy {version} {tls}"));
            let pen = telling(&authority, &files, &line, |setup| setup.command("workers 1"));
            // Checks begin with a header too.
            assert_eq!(pen.control("wait 0 up 20"), "");
            // The first session is that of the check.
            for _ in 0..2 {
                let client = pen.client_from(7);
                let (port, to) = (client.local_port(), pen.address.port());
                let of_tls = if tls.is_empty() { "||0" } else { "app.example.com|client.example.com|1" };
                assert_eq!(page(client), format!("127.0.0.7:{port}|{to}||{of_tls}"), "{version} {tls}");
            }
            // A header that the client sends comes behind pen's own, and is no header any more.
            let mut client = pen.client_from(7);
            client.send(
                [&v1("203.0.113.5:1", "192.0.2.1:80")[..], b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"].concat(),
            );
            assert!(client.line().starts_with("HTTP/1.1 400 "));
        }
        // What pen knows of the TLS that it ends.
        let line = at(0, peer.address, &format!("proxy v2 {tls}"));
        let pen = telling(&authority, &files, &line, |setup| ending_tls(setup, &files));
        let mut client = TlsClient::new(&authority).name("pen.example.com").connect(pen.address);
        client.send("GET / HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n");
        let answer = client.text();
        assert!(answer.contains(&format!("|{}|pen.example.com|", pen.address.port())), "{answer}");
    }
}

#[test]
fn nginx_behind_is_told_of_the_client() {
    let authority = Pair::root("ca");
    let files = certificates(&authority);
    let shown = "$proxy_protocol_addr:$proxy_protocol_port|$proxy_protocol_server_port|$ssl_server_name";
    let page_of = format!("location / {{ return 200 \"$remote_addr|{shown}\"; }}");
    let real_ip = "set_real_ip_from 127.0.0.1; real_ip_header proxy_protocol;";
    let pair =
        format!("ssl_certificate {}; ssl_certificate_key {};", files.file("app.crt"), files.file("app.key"));
    for (words, own, tls) in [("", "", ""), ("ssl", &*pair, "tls on tls_name app.example.com")] {
        let server = format!("{own} {real_ip} {page_of}");
        let Some(peer) = Nginx::start_listening(&format!("{words} proxy_protocol"), files.path(), &server)
        else {
            return skipped("nginx behind pen", "there is no nginx");
        };
        for version in ["v1", "v2"] {
            let line = at(0, peer.address, &format!("proxy {version} {tls}"));
            let pen = telling(&authority, &files, &line, |setup| setup);
            assert_eq!(pen.control("wait 0 up 20"), "");
            let client = pen.client_from(7);
            let (port, to) = (client.local_port(), pen.address.port());
            let name = if tls.is_empty() { "" } else { "app.example.com" };
            assert_eq!(page(client), format!("127.0.0.7|127.0.0.7:{port}|{to}|{name}"), "{version}");
        }
    }
}

#[test]
fn postfix_behind_is_told_of_the_client() {
    let directory = directory();
    let settings = "-o smtpd_upstream_proxy_protocol=haproxy -o smtpd_delay_reject=no \
                    -o smtpd_client_restrictions=check_client_access,inline:{127.0.0.7=REJECT}";
    let Some(postfix) = postfix_with(directory.path(), settings) else {
        return skipped("Postfix behind pen", "there is no Postfix, or the test does not run as root");
    };
    for version in ["v1", "v2"] {
        let pen = Setup::new().command(at(0, postfix.address, &format!("proxy {version}"))).start();
        // It speaks first, and refuses one of the clients only.
        for (n, code) in [(7, "554 "), (8, "220 ")] {
            let greeting = pen.client_from(n).line();
            assert!(greeting.starts_with(code), "{version}, client {n}: {greeting}");
        }
    }
}

#[test]
fn dovecot_behind_is_told_of_the_client() {
    if !is_root() {
        return skipped("Dovecot behind pen", "it starts as root only");
    }
    let authority = Pair::root("ca");
    let files = certificates(&authority);
    let Some(peer) = Peer::dovecot(files.path()) else {
        return skipped("Dovecot behind pen", "there is no Dovecot");
    };
    // It greets a client as soon as it knows it.
    const LOGIN: &str = "a LOGIN joe secret\r\nb LOGOUT\r\n";
    let noted = |client: &str| {
        let log = files.file("dovecot.log");
        wait_for("a line of Dovecot's log", || {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            text.lines().find(|line| line.contains(client)).map(str::to_owned)
        })
    };
    for version in ["v1", "v2"] {
        let pen = Setup::new().command(at(0, peer.address, &format!("proxy {version}"))).start();
        let mut client = pen.client_from(7);
        assert!(client.line().starts_with("* OK "));
        client.send(LOGIN);
        client.end();
        let line = noted(&format!("rip=127.0.0.7, rport={}", client.local_port()));
        assert!(line.contains("auth failed, 1 attempts") && !line.contains("secured"), "{line}");
    }
    // Dovecot knows by the header that the client's own connection is secured, and the name that it asked for.
    let setup = ending_tls(Setup::new(), &files).command(at(0, peer.address, "proxy v2"));
    let pen = setup.start();
    let client = pen.client_from(7);
    let port = client.local_port();
    let mut tls = TlsClient::new(&authority).name("pen.example.com").over(client).unwrap();
    assert!(tls.line().starts_with("* OK "));
    tls.send(LOGIN);
    tls.rest();
    let line = noted(&format!("rip=127.0.0.7, rport={port}"));
    assert!(line.contains("secured") && line.contains("name=pen.example.com"), "{line}");
}
