//! The ClientHello: in any pieces, from clients that are none, and what a connection holds before it is complete.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use openssl::ssl::SslVersion;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use crate::support::client::End;
use crate::support::tls::{Kind, Pair, TlsClient, client_hello};
use crate::support::{Backend, Client, wait_until};

use super::tls::{pen, same};
use super::tls_resume::rustls_client;

/// The same messages in records of that many bytes.
fn in_records_of(size: usize, records: &[u8]) -> Vec<u8> {
    let (mut rest, mut out) = (records, Vec::new());
    while let [kind, major, minor, high, low, more @ ..] = rest {
        let (body, next) = more.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        for part in body.chunks(size) {
            out.extend([*kind, *major, *minor]);
            out.extend(u16::try_from(part.len()).unwrap().to_be_bytes());
            out.extend(part);
        }
        rest = next;
    }
    out
}

#[test]
fn it_may_come_in_any_pieces() {
    let authority = Pair::root("ca");
    let backend = Backend::echo();
    let pen = pen(&authority, Kind::Ec, &backend, same);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for (record, segment) in [(1, 1000), (1, 7), (50, 1), (usize::MAX, 1)] {
            let name = ServerName::try_from("localhost").unwrap();
            let mut tls = ClientConnection::new(rustls_client(&authority, version), name).unwrap();
            let mut hello = Vec::new();
            tls.write_tls(&mut hello).unwrap();
            let mut stream = TcpStream::connect(pen.address).unwrap();
            stream.set_nodelay(true).unwrap();
            for part in in_records_of(record, &hello).chunks(segment) {
                stream.write_all(part).unwrap();
            }
            let mut tls = StreamOwned::new(tls, stream);
            tls.write_all(b"x").unwrap();
            let mut answer = [0];
            tls.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"x", "records of {record}, segments of {segment}");
        }
    }
}

#[test]
fn a_client_that_is_none_is_answered_at_once() {
    let authority = Pair::root("ca");
    let backend = Backend::greeter("A");
    let pen = pen(&authority, Kind::Ec, &backend, |setup| {
        setup.command("ssl_handshake_timeout 600").options("-dd")
    });
    let alert = |description| vec![21, 3, 3, 0, 2, 2, description];
    let cases: [(&str, &[u8], Vec<u8>); 6] = [
        ("HTTP", b"GET / HTTP/1.1\r\n\r\n", Vec::new()),
        ("data", &[23, 3, 3, 0, 9], alert(10)),
        ("another message", &[22, 3, 1, 0, 5, 2, 0, 0, 1, 0], alert(10)),
        ("a record that is too long", &[22, 3, 1, 0x50, 0], alert(22)),
        ("a ClientHello that is too long", &[22, 3, 1, 0, 4, 1, 0, 0x40, 1], alert(47)),
        ("an alert", &[21, 3, 1, 0, 2, 1, 90], Vec::new()),
    ];
    for (what, bytes, answer) in cases {
        let mut client = pen.client();
        client.send(bytes);
        assert_eq!(client.rest(), answer, "{what}");
    }
    wait_until("a line for each", || pen.stderr().matches("handshake failed").count() == 6);
    assert_eq!(TlsClient::new(&authority).connect(pen.address).line(), "A");
}

#[test]
fn a_client_that_leaves_in_the_middle_of_it_is_let_go() {
    let authority = Pair::root("ca");
    let backend = Backend::greeter("A");
    let pen = pen(&authority, Kind::Ec, &backend, |setup| setup.command("ssl_handshake_timeout 600"));
    let hello = client_hello();
    let descriptors = || fs::read_dir(format!("/proc/{}/fd", pen.pid())).unwrap().count();
    // Pen has opened by then what it opens once.
    assert_eq!(TlsClient::new(&authority).connect(pen.address).line(), "A");
    let before = descriptors();
    let client = |length: usize| -> Client {
        let mut client = pen.client();
        client.send(&hello[..length]);
        client
    };
    for length in [0, 3, 5, 100, hello.len() - 1] {
        let mut ends = client(length);
        ends.finish();
        assert_eq!(ends.end(), End::Clean, "{length}");
        client(length).reset();
    }
    wait_until("the connections to end", || descriptors() <= before);
    let version = SslVersion::TLS1_2;
    assert_eq!(TlsClient::new(&authority).version(version).connect(pen.address).line(), "A");
}
