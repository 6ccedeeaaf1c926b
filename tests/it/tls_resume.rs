//! Resumption: tickets and sessions, across workers and reloads.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned, SupportedProtocolVersion,
};

use crate::support::tls::{Pair, s_client};
use crate::support::{Backend, Pen, Setup};

fn pen(authority: &Pair, backend: &Backend) -> Pen {
    let setup = Setup::new();
    authority.issue("localhost").write(setup.path(), "pen");
    let (cert, key) = (setup.file("pen.crt"), setup.file("pen.key"));
    let setup = setup.option("-E", cert).option("-K", key).options("-dd").command("workers 4");
    setup.servers([backend]).start()
}

/// A client that remembers what it was given.
pub(super) fn rustls_client(
    authority: &Pair,
    version: &'static SupportedProtocolVersion,
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(authority.cert.to_der().unwrap())).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.resumption = Resumption::in_memory_sessions(16);
    Arc::new(config)
}

fn request(config: &Arc<ClientConfig>, pen: &Pen) -> HandshakeKind {
    let tls = ClientConnection::new(Arc::clone(config), ServerName::try_from("localhost").unwrap()).unwrap();
    let mut stream = StreamOwned::new(tls, TcpStream::connect(pen.address).unwrap());
    stream.write_all(b"x").unwrap();
    let mut answer = [0];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"x");
    stream.conn.handshake_kind().unwrap()
}

/// The workers whose handshakes the log calls resumed.
fn resuming_workers(pen: &Pen) -> BTreeSet<String> {
    let log = pen.stderr();
    let resumed = log.lines().filter(|l| l.contains(", resumed,"));
    resumed.filter_map(|l| l.rsplit_once("worker ").map(|(_, n)| n.to_owned())).collect()
}

#[test]
fn a_client_resumes_on_whichever_worker_it_meets() {
    let authority = Pair::root("ca");
    let backend = Backend::echo();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let pen = pen(&authority, &backend);
        let config = rustls_client(&authority, version);
        assert_eq!(request(&config, &pen), HandshakeKind::Full);
        let mut rounds = 0;
        // Which worker takes a connection is the system's choice.
        while resuming_workers(&pen).len() < 2 {
            rounds += 1;
            assert!(rounds < 500, "one worker took all: {}", pen.stderr());
            assert_eq!(request(&config, &pen), HandshakeKind::Resumed);
        }
        authority.issue("localhost").write(pen.path(), "pen");
        assert_eq!(pen.control("ssl_reload"), "");
        assert_eq!(request(&config, &pen), HandshakeKind::Resumed, "a reload keeps sessions");
    }
}

#[test]
fn a_client_without_tickets_resumes_too() {
    let authority = Pair::root("ca");
    let backend = Backend::new(|mut client| client.send("bye\n"));
    let pen = pen(&authority, &backend);
    let session = pen.file("session");
    let first = s_client(pen.address, ["-tls1_2", "-no_ticket", &format!("-sess_out {session}")]);
    assert!(first.contains("New, TLSv1.2") && first.contains("bye"), "{first}");
    let mut rounds = 0;
    while resuming_workers(&pen).len() < 2 {
        rounds += 1;
        assert!(rounds < 200, "one worker took all: {}", pen.stderr());
        let next = s_client(pen.address, ["-tls1_2", "-no_ticket", &format!("-sess_in {session}")]);
        assert!(next.contains("Reused, TLSv1.2") && next.contains("bye"), "{next}");
    }
}

#[test]
fn tickets_of_another_pen_are_worth_nothing() {
    let authority = Pair::root("ca");
    let backend = Backend::echo();
    let (one, other) = (pen(&authority, &backend), pen(&authority, &backend));
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = rustls_client(&authority, version);
        assert_eq!(request(&config, &one), HandshakeKind::Full);
        assert_eq!(request(&config, &other), HandshakeKind::Full);
    }
}
