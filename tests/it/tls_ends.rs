//! How streams end over TLS.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use openssl::ssl::SslVersion;

use crate::support::client::End;
use crate::support::tls::{Kind, Pair, TlsClient, TlsEnd};
use crate::support::{Backend, wait_until};

use super::tls::{noise, pen, same};

#[test]
fn the_server_s_end_is_close_notify_and_then_fin() {
    let authority = Pair::root("ca");
    let backend = Backend::new(|mut client| client.send("bye"));
    let pen = pen(&authority, Kind::Ec, &backend, same);
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let mut tls = TlsClient::new(&authority).version(version).connect(pen.address);
        assert_eq!(tls.text(), "bye");
        // Beneath TLS there is nothing left but the end.
        assert_eq!(tls.0.get_mut().read(&mut [0; 16]).unwrap(), 0);
    }
}

#[test]
fn the_client_s_close_notify_is_a_half_close() {
    let authority = Pair::root("ca");
    let backend = Backend::recorder("got it all");
    let pen = pen(&authority, Kind::Ec, &backend, same);
    for (n, version) in [SslVersion::TLS1_2, SslVersion::TLS1_3].into_iter().enumerate() {
        let mut tls = TlsClient::new(&authority).version(version).connect(pen.address);
        tls.send("question");
        tls.finish();
        assert_eq!(backend.received_by(n), b"question");
        assert_eq!(tls.text(), "got it all");
    }
}

#[test]
fn a_client_may_go_on_after_the_server_s_end() {
    let authority = Pair::root("ca");
    let (rest, after) = std::sync::mpsc::channel();
    let backend = Backend::new(move |mut client| {
        client.send("that is all");
        client.finish();
        rest.send(client.text()).unwrap();
    });
    let pen = pen(&authority, Kind::Ec, &backend, same);
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let mut tls = TlsClient::new(&authority).version(version).connect(pen.address);
        assert_eq!(tls.text(), "that is all");
        tls.send("not from me");
        tls.finish();
        assert_eq!(after.recv_timeout(Duration::from_secs(20)).unwrap(), "not from me");
    }
}

#[test]
fn a_fin_without_close_notify_ends_the_stream_after_its_data() {
    let authority = Pair::root("ca");
    let backend = Backend::recorder("got it all");
    let pen = pen(&authority, Kind::Ec, &backend, |s| s.options("-d"));
    let lines: String = (0..50).map(|n| format!("line {n}\n")).collect();
    for (n, version) in [SslVersion::TLS1_2, SslVersion::TLS1_3].into_iter().enumerate() {
        let mut tls = TlsClient::new(&authority).version(version).connect(pen.address);
        lines.lines().for_each(|line| tls.send(format!("{line}\n")));
        tls.0.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(String::from_utf8(backend.received_by(n)).unwrap(), lines);
        // What the server says then still comes, and its end.
        assert_eq!(tls.text(), "got it all");
    }
    pen.says(": ended with FIN and no close_notify");
}

#[test]
fn a_stream_cut_off_within_a_record_is_reset_and_not_ended() {
    let authority = Pair::root("ca");
    let (ends, end) = std::sync::mpsc::channel();
    let backend = Backend::new(move |mut client| {
        client.bytes(4);
        ends.send(client.end()).unwrap();
    });
    let pen = pen(&authority, Kind::Ec, &backend, same);
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let mut tls = TlsClient::new(&authority).version(version).connect(pen.address);
        tls.send("half");
        // The head of a record of 32 bytes, and some of them.
        tls.0.get_mut().write_all(b"\x17\x03\x03\x00\x20abc").unwrap();
        tls.0.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(end.recv_timeout(Duration::from_secs(20)).unwrap(), End::Reset);
    }
}

#[test]
fn a_server_that_breaks_off_is_no_clean_end_for_the_client() {
    let authority = Pair::root("ca");
    let backend = Backend::new(|mut client| {
        client.bytes(1);
        client.reset();
    });
    let pen = pen(&authority, Kind::Ec, &backend, same);
    let mut tls = TlsClient::new(&authority).connect(pen.address);
    tls.send("x");
    assert_eq!(tls.rest().1, TlsEnd::Cut);
}

#[test]
fn garbage_in_place_of_records_is_the_end_of_one_connection() {
    let authority = Pair::root("ca");
    let backend = Backend::echo();
    let pen = pen(&authority, Kind::Ec, &backend, same);
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let mut tls = TlsClient::new(&authority).version(version).connect(pen.address);
        tls.send("x");
        assert_eq!(tls.bytes(1), b"x");
        tls.0.get_mut().write_all(&noise(300)).unwrap();
        assert_eq!(tls.rest().1, TlsEnd::Cut);
    }
    wait_until("no connections", || pen.servers().iter().all(|s| s.conn == 0));
    assert_eq!(TlsClient::new(&authority).connect(pen.address).version(), "TLSv1.3");
}
