//! Client certificates: good, missing, wrong.

use std::process::Command;

use openssl::ssl::SslVersion;

use crate::support::tls::{Kind, Pair, TlsClient};
use crate::support::{Backend, Pen, Setup, wait_until};

struct Case {
    server: Pair,
    clients: Pair,
    _backend: Backend,
    pen: Pen,
}

fn case() -> Case {
    let (server, clients) = (Pair::root("server ca"), Pair::root("client ca"));
    let backend = Backend::greeter("A");
    let setup = Setup::new();
    server.issue("localhost").write(setup.path(), "pen");
    let authorities = setup.write("clients.pem", clients.cert_pem());
    let (cert, key) = (setup.file("pen.crt"), setup.file("pen.key"));
    let setup = setup.options("-R").option("-E", cert).option("-K", key).option("-G", authorities);
    let pen = setup.servers([&backend]).start();
    Case { server, clients, _backend: backend, pen }
}

const VERSIONS: [SslVersion; 2] = [SslVersion::TLS1_2, SslVersion::TLS1_3];

impl Case {
    fn client(&self, version: SslVersion, identity: Option<&Pair>) -> TlsClient {
        let client = TlsClient::new(&self.server).version(version);
        identity.into_iter().fold(client, TlsClient::identity)
    }

    /// What a client that is turned down learns: in TLS 1.3 it learns it when it reads.
    fn refusal(&self, version: SslVersion, identity: Option<&Pair>) -> String {
        match self.client(version, identity).try_connect(self.pen.address) {
            Err(error) => error,
            Ok(mut tls) => {
                // What it sends before it knows must not keep it from learning.
                _ = tls.0.ssl_write(&[b'x'; 20_000]);
                tls.0.ssl_read(&mut [0]).expect_err("a refusal").to_string()
            }
        }
    }
}

#[test]
fn a_good_certificate_is_let_in() {
    let case = case();
    let direct = case.clients.issue("client");
    let through = case.clients.intermediate("below").issue("client");
    for version in VERSIONS {
        for identity in [&direct, &through] {
            assert_eq!(case.client(version, Some(identity)).connect(case.pen.address).line(), "A");
        }
    }
}

#[test]
fn a_missing_certificate_is_an_alert_and_a_line() {
    let case = case();
    assert!(case.refusal(SslVersion::TLS1_2, None).contains("alert handshake failure"));
    case.pen.says_with_port("TLS: 127.0.0.1:", ": rejected without a client certificate");
    assert!(case.refusal(SslVersion::TLS1_3, None).contains("alert certificate required"));
    wait_until("a line each", || case.pen.stderr().lines().filter(|l| l.contains("TLS: ")).count() == 2);
}

#[test]
fn a_wrong_certificate_is_an_alert_and_a_line() {
    let case = case();
    let foreign = case.server.issue("client");
    let expired = case.clients.issue_as("client", Kind::Ec, (-20, -10));
    for version in VERSIONS {
        assert!(case.refusal(version, Some(&foreign)).contains("alert unknown ca"));
        assert!(case.refusal(version, Some(&expired)).contains("alert certificate expired"));
    }
    wait_until("a line each", || case.pen.stderr().lines().filter(|l| l.contains("TLS: ")).count() == 4);
    case.pen.says("client certificate rejected: self");
    case.pen.says("client certificate rejected: certificate has expired");
}

#[test]
fn authorities_may_stand_in_a_hashed_directory() {
    let (server, clients) = (Pair::root("server ca"), Pair::root("client ca"));
    let backend = Backend::greeter("A");
    let setup = Setup::new();
    server.issue("localhost").write(setup.path(), "pen");
    let dir = setup.path().join("authorities");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("clients.pem"), clients.cert_pem()).unwrap();
    assert!(Command::new("openssl").arg("rehash").arg(&dir).status().unwrap().success());
    let (cert, key) = (setup.file("pen.crt"), setup.file("pen.key"));
    let setup = setup.options("-R").option("-E", cert).option("-K", key).option("-A", dir.to_str().unwrap());
    let pen = setup.servers([&backend]).start();
    let good = TlsClient::new(&server).identity(&clients.issue("client"));
    assert_eq!(good.connect(pen.address).line(), "A");
    let bad = TlsClient::new(&server).version(SslVersion::TLS1_2).identity(&server.issue("client"));
    assert!(bad.try_connect(pen.address).is_err());
}

#[test]
fn without_r_nobody_is_asked() {
    let authority = Pair::root("ca");
    let backend = Backend::greeter("A");
    let setup = Setup::new();
    authority.issue("localhost").write(setup.path(), "pen");
    let authorities = setup.write("clients.pem", authority.cert_pem());
    let (cert, key) = (setup.file("pen.crt"), setup.file("pen.key"));
    let pen =
        setup.option("-E", cert).option("-K", key).option("-G", authorities).servers([&backend]).start();
    assert_eq!(TlsClient::new(&authority).connect(pen.address).line(), "A");
}
