//! TLS towards servers that others have written: OpenSSL's s_server, stunnel, HAProxy, nginx.

use std::fs;
use std::net::SocketAddr;

use crate::support::directory::{Directory, directory};
use crate::support::nginx::Nginx;
use crate::support::peer::Peer;
use crate::support::tls::{Kind, Pair};
use crate::support::tls_server::{SServer, Stunnel};
use crate::support::{Backend, Pen, skipped};

use super::tls_servers::{at, pen};

fn with_certificates(authority: &Pair) -> Directory {
    let directory = directory();
    authority.issue("app.example.com").write(directory.path(), "app");
    authority.issue("pen").write(directory.path(), "client");
    authority.issue_as("app.example.com", Kind::Ec, (-9, -2)).write(directory.path(), "expired");
    authority.issue("www.example.com").write(directory.path(), "wrong");
    Pair::root("another").issue("app.example.com").write(directory.path(), "unknown");
    fs::write(directory.path().join("ca.pem"), authority.cert_pem()).unwrap();
    directory
}

/// What a page of `s_server -www` says of the session.
fn session(pen: &Pen) -> String {
    let mut client = pen.client();
    client.send("GET / HTTP/1.0\r\n\r\n");
    let page = client.text();
    let line = page.lines().find(|line| line.starts_with("New, ") || line.starts_with("Reused, "));
    line.unwrap_or_else(|| panic!("{page}")).to_owned()
}

#[test]
fn sessions_are_resumed_until_the_configuration_changes() {
    let authority = Pair::root("ca");
    let directory = with_certificates(&authority);
    for (args, version) in [("-tls1_2", "TLSv1.2"), ("-tls1_2 -no_ticket", "TLSv1.2"), ("-tls1_3", "TLSv1.3")]
    {
        let server = SServer::start(directory.path(), "app", &format!("-www {args}"));
        let line = at(0, server.address, "tls on tls_name app.example.com");
        let pen = pen(&authority, &[&line, "workers 1"], |s| s);
        let first = session(&pen);
        assert!(first.starts_with(&format!("New, {version}")), "{args}: {first}");
        for _ in 0..3 {
            let next = session(&pen);
            assert!(next.starts_with(&format!("Reused, {version}")), "{args}: {next}");
        }
        for change in ["server_protocol tls1.2", "ssl_reload", "server 0 tls_verify off"] {
            assert_eq!(pen.control(change), "");
            let first = session(&pen);
            assert!(first.starts_with("New, "), "{args}: after {change}: {first}");
            assert!(session(&pen).starts_with("Reused, "), "{args}: after {change}");
        }
    }
}

#[test]
fn s_server_demands_a_certificate_and_gets_it() {
    let authority = Pair::root("ca");
    let directory = with_certificates(&authority);
    let ca = directory.file("ca.pem");
    for version in ["-tls1_2", "-tls1_3"] {
        let args = format!("-www {version} -Verify 1 -verify_return_error -CAfile {ca}");
        let server = SServer::start(directory.path(), "app", &args);
        let line = at(0, server.address, "tls on tls_name app.example.com");
        let with = pen(&authority, &[&line], |setup| {
            let setup = setup.command(format!("server_certfile {}", directory.file("client.crt")));
            setup.command(format!("server_keyfile {}", directory.file("client.key")))
        });
        assert!(session(&with).starts_with("New, TLSv1."));
        let without = pen(&authority, &[&line], |s| s);
        let mut client = without.client();
        client.send("GET / HTTP/1.0\r\n\r\n");
        client.end();
        assert_eq!(client.rest(), b"", "an answer in spite of it");
    }
}

/// The certificates that a program serves with, the right one last.
const PAIRS: [&str; 4] = ["wrong", "expired", "unknown", "app"];

/// A pen that prefers the first of these servers, one for each of [`PAIRS`]; with a client certificate.
fn before(authority: &Pair, directory: &Directory, addresses: [SocketAddr; 4], options: &str) -> Pen {
    let line = |n: usize| at(n, addresses[n], &format!("tls on tls_name app.example.com prio {n}"));
    let lines: [String; 4] = std::array::from_fn(line);
    let lines: Vec<&str> = std::iter::once("prio").chain(lines.iter().map(String::as_str)).collect();
    pen(authority, &lines, |setup| {
        let setup = setup.command(format!("server_certfile {}", directory.file("client.crt")));
        setup.command(format!("server_keyfile {}", directory.file("client.key"))).options(options)
    })
}

/// Why it has refused the first three.
fn says_why(pen: &Pen) {
    for why in [
        "hostname mismatch, expected app.example.com",
        "certificate has expired",
        "unable to get local issuer certificate",
    ] {
        pen.says(&format!("its certificate is refused: {why}"));
    }
}

#[test]
fn s_server_is_spoken_to_and_verified() {
    let authority = Pair::root("ca");
    let directory = with_certificates(&authority);
    let ca = directory.file("ca.pem");
    for version in ["-tls1_2", "-tls1_3"] {
        let args = format!("-www {version} -Verify 1 -verify_return_error -CAfile {ca}");
        let servers = PAIRS.map(|name| SServer::start(directory.path(), name, &args));
        let pen = before(&authority, &directory, servers.each_ref().map(|server| server.address), "");
        assert!(session(&pen).starts_with("New, TLSv1."));
        says_why(&pen);
    }
}

#[test]
fn stunnel_is_spoken_to_and_verified() {
    let authority = Pair::root("ca");
    let directory = with_certificates(&authority);
    let behind = Backend::echo();
    let lines = format!("verifyChain = yes\nCAfile = {}", directory.file("ca.pem"));
    let servers = PAIRS.map(|name| Stunnel::start(directory.path(), name, &lines, behind.address()));
    if servers.iter().any(Option::is_none) {
        return skipped("stunnel", "there is no stunnel");
    }
    let pen = before(&authority, &directory, servers.each_ref().map(|s| s.as_ref().unwrap().address), "");
    let noise = super::tls::noise(2_000_000);
    for _ in 0..2 {
        pen.client().is_echoed(&noise);
    }
    says_why(&pen);
}

#[test]
fn haproxy_is_spoken_to_and_verified() {
    let authority = Pair::root("ca");
    let directory = with_certificates(&authority);
    let page = "%[ssl_fc_sni]|%[ssl_c_s_dn(cn)]|%[ssl_fc_alpn]|";
    let lines =
        format!("  mode http\n  http-request return status 200 content-type text/plain lf-string \"{page}\"");
    let peer = |name: &str| {
        let pair = [".crt", ".key"].map(|end| directory.read(&format!("{name}{end}"))).concat();
        let pair = directory.write(&format!("{name}.pem"), pair);
        let ca = directory.file("ca.pem");
        let bind = format!("ssl crt {pair} ca-file {ca} verify required alpn http/1.1");
        Peer::haproxy(directory.path(), &bind, &lines)
    };
    let servers = PAIRS.map(peer);
    if servers.iter().any(Option::is_none) {
        return skipped("HAProxy", "there is no HAProxy");
    }
    let addresses = servers.each_ref().map(|s| s.as_ref().unwrap().address);
    for (options, alpn) in [("", ""), ("-H", "http/1.1")] {
        let pen = before(&authority, &directory, addresses, options);
        let mut client = pen.client();
        client.send("GET / HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n");
        let answer = client.text();
        assert!(answer.ends_with(&format!("\r\n\r\napp.example.com|pen|{alpn}|")), "{answer}");
        says_why(&pen);
    }
}

#[test]
fn nginx_serves_over_tls_with_the_headers_of_http_mode() {
    let authority = Pair::root("ca");
    let directory = with_certificates(&authority);
    let (cert, key) = (directory.file("app.crt"), directory.file("app.key"));
    let server = format!(
        "ssl_certificate {cert}; ssl_certificate_key {key}; ssl_protocols TLSv1.2 TLSv1.3;\n\
         location / {{ return 200 \"$http_x_forwarded_for $scheme $ssl_server_name\\n\"; }}"
    );
    let Some(nginx) = Nginx::start_tls("127.0.0.1", directory.path(), "", &server) else {
        return skipped("nginx", "there is no nginx");
    };
    let line = at(0, nginx.address, "tls on tls_name app.example.com");
    let pen = pen(&authority, &[&line], |s| s.options("-H"));
    let mut client = pen.client();
    client.send("GET / HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n");
    let answer = client.text();
    assert!(answer.ends_with("\r\n\r\n127.0.0.1 https app.example.com\n"), "{answer}");
}
