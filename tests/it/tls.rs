//! TLS towards clients: handshakes, protocols, ciphers.

use std::fs;
use std::io::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

use openssl::ssl::SslVersion;

use crate::support::tls::{Kind, Pair, TlsClient};
use crate::support::{Backend, Client, Pen, Setup, Stopwatch};

/// A pen with TLS before one server; its certificate is for `localhost`.
pub(super) fn pen(
    authority: &Pair,
    kind: Kind,
    backend: &Backend,
    change: impl FnOnce(Setup) -> Setup,
) -> Pen {
    let setup = Setup::new();
    authority.issue_as("localhost", kind, (-1, 30)).write(setup.path(), "pen");
    let (cert, key) = (setup.file("pen.crt"), setup.file("pen.key"));
    let setup = setup.option("-E", cert).option("-K", key).servers([backend]);
    change(setup).start()
}

pub(super) fn same(setup: Setup) -> Setup {
    setup
}

#[test]
fn both_versions_with_both_kinds_of_key() {
    let authority = Pair::root("ca");
    let backend = Backend::greeter("A");
    for kind in [Kind::Ec, Kind::Rsa] {
        let pen = pen(&authority, kind, &backend, same);
        for (version, shown) in [(SslVersion::TLS1_2, "TLSv1.2"), (SslVersion::TLS1_3, "TLSv1.3")] {
            let mut tls = TlsClient::new(&authority).name("localhost").version(version).connect(pen.address);
            assert_eq!((tls.line(), tls.version()), ("A".into(), shown));
            assert!(tls.cipher().contains("GCM"), "{}", tls.cipher());
            let expected = if kind == Kind::Ec { "ECDSA" } else { "RSA" };
            assert!(version == SslVersion::TLS1_3 || tls.cipher().contains(expected), "{}", tls.cipher());
        }
    }
}

#[test]
fn curl_and_s_client_are_served() {
    let authority = Pair::root("ca");
    let backend = Backend::http("A");
    let pen = pen(&authority, Kind::Ec, &backend, |s| s.options("-H"));
    let ca = pen.write("ca.pem", authority.cert_pem());
    let port = pen.address.port();
    for version in ["--tlsv1.2 --tls-max 1.2", "--tlsv1.3"] {
        let curl = Command::new("curl")
            .args([
                "-sS",
                "--max-time",
                "20",
                "--cacert",
                &ca,
                "--resolve",
                &format!("localhost:{port}:127.0.0.1"),
            ])
            .args(version.split(' '))
            .arg(format!("https://localhost:{port}/"))
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&curl.stdout), "A", "{curl:?}");
    }
    let seen = String::from_utf8(backend.received_by(0)).unwrap();
    assert!(
        seen.contains("X-Forwarded-Proto: https\r\n") && seen.contains("X-Forwarded-For: 127.0.0.1"),
        "{seen}"
    );
}

#[test]
fn a_plain_client_is_turned_down_and_others_go_on() {
    let authority = Pair::root("ca");
    let backend = Backend::greeter("A");
    let pen = pen(&authority, Kind::Ec, &backend, same);
    let mut plain = pen.client();
    plain.send("GET / HTTP/1.0\r\n\r\n");
    plain.end();
    assert_eq!(TlsClient::new(&authority).connect(pen.address).line(), "A");
    assert_eq!(backend.accepted(), 1, "no server is troubled by a client without a handshake");
}

#[test]
fn old_protocols_are_for_those_who_ask_for_them() {
    let authority = Pair::root("ca");
    let backend = Backend::greeter("A");
    let client = |version| TlsClient::new(&authority).version(version).ciphers("ALL:@SECLEVEL=0");
    let modern = pen(&authority, Kind::Ec, &backend, same);
    assert!(client(SslVersion::TLS1_1).try_connect(modern.address).is_err());
    let old = pen(&authority, Kind::Ec, &backend, |s| {
        s.command("ssl_option allow_tlsv1").command("ssl_ciphers ALL:@SECLEVEL=0")
    });
    assert_eq!(client(SslVersion::TLS1).connect(old.address).version(), "TLSv1");
    // Without a list of ciphers too.
    let old = pen(&authority, Kind::Ec, &backend, |s| s.command("ssl_option allow_tlsv1"));
    for (version, shown) in
        [(SslVersion::TLS1, "TLSv1"), (SslVersion::TLS1_1, "TLSv1.1"), (SslVersion::TLS1_3, "TLSv1.3")]
    {
        assert_eq!(client(version).connect(old.address).version(), shown);
    }
    // With one that OpenSSL 3 does not use for them: told.
    let told = pen(&authority, Kind::Ec, &backend, |s| {
        s.command("ssl_option allow_tlsv1").command("ssl_ciphers ALL")
    });
    if openssl::version::number() >= 0x3000_0000 {
        told.says("ssl_option allow_tlsv1: has no effect: ");
    }
    for (option, argument) in [("-O", "ssl_option no_tlsv1.2"), ("-L", "tls1.3")] {
        let newest = pen(&authority, Kind::Ec, &backend, |s| s.option(option, argument));
        assert!(client(SslVersion::TLS1_2).try_connect(newest.address).is_err());
        assert_eq!(client(SslVersion::TLS1_3).connect(newest.address).version(), "TLSv1.3");
    }
}

#[test]
fn ciphers_are_those_of_the_list_in_its_order() {
    let authority = Pair::root("ca");
    let backend = Backend::greeter("A");
    let list = "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256:TLS_CHACHA20_POLY1305_SHA256";
    let pen = pen(&authority, Kind::Ec, &backend, |s| s.command(format!("ssl_ciphers {list}")));
    let client = |version| TlsClient::new(&authority).version(version);
    let offered = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384";
    let tls = client(SslVersion::TLS1_2).ciphers(offered).connect(pen.address);
    assert_eq!(tls.cipher(), "ECDHE-ECDSA-AES256-GCM-SHA384");
    assert_eq!(client(SslVersion::TLS1_3).connect(pen.address).cipher(), "TLS_CHACHA20_POLY1305_SHA256");
    // Without forward secrecy only for those who ask for it.
    assert!(client(SslVersion::TLS1_2).ciphers("AES128-SHA").try_connect(pen.address).is_err());

    assert_eq!(pen.control("ssl_ciphers ECDHE-ECDSA-AES128-GCM-SHA256"), "");
    let tls = client(SslVersion::TLS1_2).connect(pen.address);
    assert_eq!(tls.cipher(), "ECDHE-ECDSA-AES128-GCM-SHA256");
    let refused = pen.control("ssl_ciphers NOSUCH");
    assert!(refused.starts_with("error: ssl_ciphers: ") && refused.contains("'NOSUCH'"), "{refused}");
    assert_eq!(client(SslVersion::TLS1_2).connect(pen.address).cipher(), tls.cipher());
}

#[test]
fn what_has_no_effect_is_said() {
    let authority = Pair::root("ca");
    let backend = Backend::greeter("A");
    let pen = pen(&authority, Kind::Ec, &backend, |s| s.options("-Z -L ssl3").command("ssl_option no_sslv2"));
    pen.says("ssl_protocol (-L): has no effect");
    pen.says("ssl_option no_sslv2: has no effect");
    assert_eq!(TlsClient::new(&authority).connect(pen.address).line(), "A");
}

#[test]
fn renegotiation_is_refused() {
    let authority = Pair::root("ca");
    let backend = Backend::echo();
    let pen = pen(&authority, Kind::Ec, &backend, |s| s.command("ssl_client_renegotiation_interval 1"));
    pen.says("ssl_client_renegotiation_interval: has no effect");
    let mut s_client = Command::new("openssl")
        .args(["s_client", "-tls1_2", "-connect", &pen.address.to_string()])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // A line of a single R asks for it.
    s_client.stdin.as_mut().unwrap().write_all(b"R\n").unwrap();
    let output = s_client.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("no renegotiation"), "{said}");
}

pub(super) fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    openssl::rand::rand_bytes(&mut bytes).unwrap();
    bytes
}

#[test]
fn the_handshake_timeout_is_the_connect_timeout_unless_set() {
    let authority = Pair::root("ca");
    let backend = Backend::greeter("A");
    let pen = pen(&authority, Kind::Ec, &backend, |s| s.options("-t 1"));
    let (begin, stopwatch) = (Instant::now(), Stopwatch::start());
    pen.client().end();
    stopwatch.is_below(Duration::from_secs(4));
    assert!(begin.elapsed() >= Duration::from_millis(900), "{:?}", begin.elapsed());
}

#[test]
fn a_connection_shows_protocol_cipher_and_name() {
    let authority = Pair::root("ca");
    let backend = Backend::greeter("A");
    let pen = pen(&authority, Kind::Ec, &backend, |s| {
        let stats = s.file("stats.html");
        s.option("-w", stats)
    });
    let mut tls =
        TlsClient::new(&authority).name("localhost").version(SslVersion::TLS1_3).connect(pen.address);
    tls.line();
    let shown = pen.control("connection 0");
    assert!(shown.contains("tls = TLSv1.3, cipher = TLS_AES_128_GCM_SHA256\nsni = localhost\n"), "{shown}");
    let page = pen.control("status");
    assert!(page.contains("TLSv1.3") && page.contains("localhost"), "{page}");
    assert_eq!(page, fs::read_to_string(pen.file("stats.html")).unwrap());
    // A name that is none is not shown.
    drop(tls);
    pen.becomes_idle();
}

#[test]
fn a_denied_client_gets_no_handshake() {
    let authority = Pair::root("ca");
    let backend = Backend::greeter("A");
    let pen = pen(&authority, Kind::Ec, &backend, |s| s.command("acl 0 deny 127.0.0.9"));
    assert!(TlsClient::new(&authority).over(pen.client_from(9)).is_err());
    assert_eq!(TlsClient::new(&authority).over(pen.client_from(8)).unwrap().line(), "A");
}

#[test]
fn unix_clients_are_served_without_tls() {
    let authority = Pair::root("ca");
    let backend = Backend::greeter("A");
    let setup = Setup::new();
    authority.issue("localhost").write(setup.path(), "pen");
    let (cert, key, path) = (setup.file("pen.crt"), setup.file("pen.key"), setup.file("socket"));
    let pen = setup.option("-E", cert).option("-K", key).listen(&path).servers([&backend]).start();
    pen.says("clients of a Unix socket are served without TLS");
    assert_eq!(Client::to_path(path.as_ref()).line(), "A");
}
