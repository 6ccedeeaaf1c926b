//! How streams end towards servers that speak TLS.

use std::io::{Read as _, Write as _};
use std::sync::mpsc::channel;
use std::time::Duration;

use openssl::ssl::SslVersion;

use crate::support::client::End;
use crate::support::tls::{Pair, Tls, TlsClient, TlsEnd};
use crate::support::tls_server::TlsServer;
use crate::support::{Backend, Pen};

use super::tls_servers::{at, pen};

const VERSIONS: [SslVersion; 2] = [SslVersion::TLS1_2, SslVersion::TLS1_3];

/// A pen before a server that speaks TLS and does `serve`.
fn before(version: SslVersion, serve: impl Fn(Tls) + Send + Sync + 'static) -> (Pen, Backend) {
    let authority = Pair::root("ca");
    let server = TlsServer::new(&authority.issue("app")).version(version).serve(serve);
    (pen(&authority, &[&at(0, server.address(), "tls on tls_name app")], |s| s), server)
}

#[test]
fn the_client_s_end_is_close_notify_and_then_fin() {
    for version in VERSIONS {
        let (ends, end) = channel();
        let (pen, _server) = before(version, move |mut tls| {
            let (bytes, how) = tls.rest();
            // Beneath TLS there is nothing left but the end.
            let beneath = tls.0.get_mut().read(&mut [0; 16]).unwrap();
            ends.send((bytes, how, beneath)).unwrap();
            // It is a half close: the server may go on.
            tls.send("got it all");
            tls.finish();
        });
        let mut client = pen.client();
        client.send("question");
        client.finish();
        assert_eq!(
            end.recv_timeout(Duration::from_secs(20)).unwrap(),
            (b"question".to_vec(), TlsEnd::Clean, 0)
        );
        assert_eq!(client.text(), "got it all");
    }
}

#[test]
fn a_client_may_go_on_after_the_server_s_close_notify() {
    for version in VERSIONS {
        let (rests, rest) = channel();
        let (pen, _server) = before(version, move |mut tls| {
            tls.send("that is all");
            tls.finish();
            rests.send(tls.text()).unwrap();
        });
        let mut client = pen.client();
        assert_eq!(client.text(), "that is all");
        client.send("not from me");
        client.finish();
        assert_eq!(rest.recv_timeout(Duration::from_secs(20)).unwrap(), "not from me");
    }
}

#[test]
fn a_server_s_fin_without_close_notify_ends_the_stream_after_its_data() {
    for version in VERSIONS {
        let (rests, rest) = channel();
        let (pen, _server) = before(version, move |mut tls| {
            tls.send("answer");
            tls.0.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
            rests.send(tls.text()).unwrap();
        });
        let mut client = pen.client();
        assert_eq!(client.text(), "answer");
        client.send("more");
        client.finish();
        assert_eq!(rest.recv_timeout(Duration::from_secs(20)).unwrap(), "more");
    }
}

#[test]
fn a_server_s_stream_cut_off_within_a_record_is_a_reset_for_the_client() {
    for version in VERSIONS {
        let (pen, _server) = before(version, |mut tls| {
            tls.send("half");
            // The head of a record of 32 bytes, and some of them.
            tls.0.get_mut().write_all(b"\x17\x03\x03\x00\x20abc").unwrap();
            tls.0.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
            tls.rest();
        });
        let mut client = pen.client();
        assert_eq!(client.bytes(4), b"half");
        assert_eq!(client.end(), End::Reset);
    }
}

#[test]
fn a_reset_is_passed_on_in_both_directions() {
    for version in VERSIONS {
        let (ends, end) = channel();
        let (pen, _server) = before(version, move |mut tls| match &tls.bytes(1)[..] {
            b"r" => tls.0.get_ref().set_linger(Some(Duration::ZERO)).unwrap(),
            _ => {
                tls.send("y");
                ends.send(tls.rest().1).unwrap();
            }
        });
        let mut client = pen.client();
        client.send("r");
        assert_eq!(client.end(), End::Reset);
        let mut client = pen.client();
        client.send("x");
        assert_eq!(client.bytes(1), b"y");
        client.reset();
        assert_eq!(end.recv_timeout(Duration::from_secs(20)).unwrap(), TlsEnd::Cut);
    }
}

/// Answers a request as its path has it: with a FIN after the answer, with a record that is cut off, or with a reset.
fn end_by_path(mut tls: Tls) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.extend(tls.bytes(1));
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap();
    if path == "/reset" {
        return tls.0.get_ref().set_linger(Some(Duration::ZERO)).unwrap();
    }
    tls.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nanswer");
    if path == "/cut" {
        tls.0.get_mut().write_all(b"\x17\x03\x03\x00\x20abc").unwrap();
    }
    tls.0.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
    tls.rest();
}

#[test]
fn the_rules_of_ends_hold_in_every_mixture() {
    let authority = Pair::root("ca");
    let server = TlsServer::new(&authority.issue("app")).serve(end_by_path);
    let line = at(0, server.address(), "tls on tls_name app blacklist 0");
    for (tls_in, http) in [(false, false), (false, true), (true, false), (true, true)] {
        let pen = pen(&authority, &[&line], |setup| {
            authority.issue("localhost").write(setup.path(), "pen");
            let (cert, key) = (setup.file("pen.crt"), setup.file("pen.key"));
            let setup = if http { setup.options("-H") } else { setup };
            if tls_in { setup.option("-E", cert).option("-K", key) } else { setup }
        });
        for (path, clean) in [("/fin", true), ("/cut", false), ("/reset", false)] {
            let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
            let (text, ended) = if tls_in {
                let mut tls = TlsClient::new(&authority).name("localhost").connect(pen.address);
                tls.send(request);
                let (bytes, end) = tls.rest();
                (bytes, end == TlsEnd::Clean)
            } else {
                let mut client = pen.client();
                client.send(request);
                let mut bytes = Vec::new();
                let end = client.0.read_to_end(&mut bytes);
                (bytes, end.is_ok())
            };
            let text = String::from_utf8(text).unwrap();
            assert_eq!(ended, clean, "{path}, TLS with the client {tls_in}, -H {http}: {text}");
            assert_eq!(text.ends_with("answer"), path != "/reset", "{path}: {text}");
        }
    }
}

#[test]
fn the_session_of_a_connection_that_was_reset_is_resumed() {
    let authority = Pair::root("ca");
    for version in VERSIONS {
        let server = TlsServer::new(&authority.issue("app")).version(version).serve(|mut tls| {
            let resumed = tls.0.ssl().session_reused();
            tls.send(if resumed { "R" } else { "N" });
            tls.rest();
        });
        let line = at(0, server.address(), "tls on tls_name app");
        let pen = pen(&authority, &[&line, "workers 1"], |s| s);
        for expected in [b"N", b"R", b"R"] {
            let mut client = pen.client();
            assert_eq!(client.bytes(1), expected);
            client.reset();
            pen.becomes_idle();
        }
    }
}

#[test]
fn a_session_serves_any_number_of_connections() {
    let authority = Pair::root("ca");
    for version in VERSIONS {
        let server = TlsServer::new(&authority.issue("app")).version(version).issues_one_session();
        let server = server.serve(|mut tls| {
            let resumed = tls.0.ssl().session_reused();
            tls.send(if resumed { "R" } else { "N" });
            tls.rest();
        });
        let line = at(0, server.address(), "tls on tls_name app");
        let pen = pen(&authority, &[&line, "workers 1"], |s| s);
        // As long as a connection is open there is no other session.
        let clients: Vec<_> =
            (0..4).map(|_| pen.client()).map(|mut client| (client.bytes(1), client)).collect();
        let told: Vec<u8> = clients.iter().flat_map(|(told, _)| told.clone()).collect();
        assert_eq!(told, b"NRRR");
    }
}

#[test]
fn ends_pass_through_tls_on_both_sides() {
    let authority = Pair::root("ca");
    let server = TlsServer::new(&authority.issue("app")).serve(|mut tls| {
        let question = tls.text();
        tls.send(format!("answer to {question}"));
        tls.finish();
    });
    let pen = pen(&authority, &[&at(0, server.address(), "tls on tls_name app")], |setup| {
        authority.issue("localhost").write(setup.path(), "pen");
        let (cert, key) = (setup.file("pen.crt"), setup.file("pen.key"));
        setup.option("-E", cert).option("-K", key)
    });
    for version in VERSIONS {
        let mut tls = TlsClient::new(&authority).name("localhost").version(version).connect(pen.address);
        tls.send("a question");
        tls.finish();
        assert_eq!(tls.text(), "answer to a question");
    }
}
