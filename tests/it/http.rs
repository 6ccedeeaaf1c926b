//! HTTP mode: every request gets its headers and nothing else changes.

use crate::support::backend::Backend;
use crate::support::{Client, Pen, Setup, wait_until};

const REPLY: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nW";

fn pen() -> (Backend, Pen) {
    let backend = Backend::http("W");
    let pen = Setup::new().options("-H").server(backend.address()).start();
    (backend, pen)
}

/// What the server gets of what a client sends, once it has answered `answers` times.
fn passed(backend: &Backend, pen: &Pen, sent: &[&[u8]], answers: usize) -> String {
    let number = backend.accepted();
    let mut client = pen.client_from(5);
    for piece in sent {
        client.send(piece);
    }
    for _ in 0..answers {
        assert_eq!(client.bytes(REPLY.len()), REPLY);
    }
    client.finish();
    String::from_utf8(backend.received_by(number)).unwrap()
}

/// The head with pen's headers at its end.
fn with_headers(head: &str) -> String {
    format!("{head}X-Forwarded-Proto: http\r\nX-Forwarded-For: 127.0.0.5\r\n\r\n")
}

#[test]
fn a_request_gets_the_clients_address_and_scheme() {
    let (backend, pen) = pen();
    let sent = b"GET /a?b HTTP/1.1\r\nHost: x\r\n\r\n";
    assert_eq!(passed(&backend, &pen, &[sent], 1), with_headers("GET /a?b HTTP/1.1\r\nHost: x\r\n"));
    let sent = b"GET / HTTP/1.0\r\n\r\n";
    assert_eq!(passed(&backend, &pen, &[sent], 1), with_headers("GET / HTTP/1.0\r\n"));
}

#[test]
fn any_method_does() {
    let (backend, pen) = pen();
    for method in ["POST", "HEAD", "PUT", "OPTIONS", "DELETE", "PATCH", "PROPFIND"] {
        let head = format!("{method} / HTTP/1.1\r\nHost: x\r\n");
        assert_eq!(passed(&backend, &pen, &[format!("{head}\r\n").as_bytes()], 1), with_headers(&head));
    }
}

#[test]
fn every_request_of_a_connection_gets_them_however_it_comes() {
    let (backend, pen) = pen();
    let head = |n: usize| format!("GET /{n} HTTP/1.1\r\nHost: x\r\n");
    let expected: String = (0..4).map(|n| with_headers(&head(n))).collect();
    let requests: String = (0..4).map(|n| head(n) + "\r\n").collect();
    // All in one read: C pen saw the first alone.
    assert_eq!(passed(&backend, &pen, &[requests.as_bytes()], 4), expected);
    // Byte by byte: C pen saw none.
    let number = backend.accepted();
    let mut client = pen.client_from(5);
    client.0.set_tcp_nodelay(true).unwrap();
    for byte in requests.as_bytes() {
        client.send([*byte]);
    }
    (0..4).for_each(|_| assert_eq!(client.bytes(REPLY.len()), REPLY));
    client.finish();
    assert_eq!(backend.received_by(number), expected.as_bytes());
    // One after the other's answer.
    let number = backend.accepted();
    let mut client = pen.client_from(5);
    for n in 0..4 {
        client.send(head(n) + "\r\n");
        assert_eq!(client.bytes(REPLY.len()), REPLY);
    }
    client.finish();
    assert_eq!(backend.received_by(number), expected.as_bytes());
}

#[test]
fn what_the_client_says_itself_stays() {
    let (backend, pen) = pen();
    let sent = "GET / HTTP/1.1\r\nx-forwarded-for: 9.9.9.9\r\nX-Forwarded-Proto: gopher\r\n\r\n";
    assert_eq!(passed(&backend, &pen, &[sent.as_bytes()], 1), sent);
    let sent = "GET / HTTP/1.1\r\nX-Forwarded-For: 9.9.9.9\r\n\r\n";
    let got = passed(&backend, &pen, &[sent.as_bytes()], 1);
    assert_eq!(got, "GET / HTTP/1.1\r\nX-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: http\r\n\r\n");
}

#[test]
fn bodies_pass_untouched_whatever_they_look_like() {
    let (backend, pen) = pen();
    let body = "GET / HTTP/1.1\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n";
    let head = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n", body.len());
    let next = "GET /next HTTP/1.1\r\n";
    let expected = format!("{}{body}{}", with_headers(&head), with_headers(next));
    let whole = format!("{head}\r\n{body}{next}\r\n");
    assert_eq!(passed(&backend, &pen, &[whole.as_bytes()], 2), expected);
    // The body in reads of its own, one of which begins like a request.
    let pieces = [format!("{head}\r\n"), body.to_owned(), format!("{next}\r\n")];
    let pieces: Vec<&[u8]> = pieces.iter().map(String::as_bytes).collect();
    assert_eq!(passed(&backend, &pen, &pieces, 2), expected);
    let chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n";
    let body = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let whole = format!("{chunked}\r\n{body}{next}\r\n");
    let expected = format!("{}{body}{}", with_headers(chunked), with_headers(next));
    assert_eq!(passed(&backend, &pen, &[whole.as_bytes()], 2), expected);
}

/// What the server gets of bytes that no answer comes to.
fn relayed(recorder: &Backend, pen: &Pen, sent: &[u8]) -> Vec<u8> {
    let number = recorder.accepted();
    let mut client = pen.client_from(5);
    client.send(sent);
    client.finish();
    assert_eq!(client.text(), "ok");
    recorder.received_by(number)
}

#[test]
fn what_is_not_http_passes_unchanged() {
    let recorder = Backend::recorder("ok");
    let pen = Setup::new().options("-H").server(recorder.address()).start();
    for sent in [
        &b"GET foo\r\n\r\nbar"[..],
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\r\n\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"\0\0\0\0",
        b"GET /\xff HTTP/1.1\r\nbad header\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        assert_eq!(relayed(&recorder, &pen, sent), sent, "{}", sent.escape_ascii());
    }
    let long = [b"GET /".as_slice(), &vec![b'a'; 300_000], b" HTTP/1.1\r\n\r\n"].concat();
    let got = relayed(&recorder, &pen, &long);
    assert!(got.starts_with(&long[..300_000]), "the long head is all there");
}

#[test]
fn an_upgraded_connection_is_left_alone() {
    let backend = Backend::new(|mut client| {
        let mut head = String::new();
        while !head.ends_with("\n\n") {
            let line = client.line();
            head += line.trim_end_matches('\r');
            head.push('\n');
        }
        client.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n");
        let rest = client.rest();
        client.send(rest);
    });
    let pen = Setup::new().options("-H").server(backend.address()).start();
    let mut client = pen.client();
    client.send("GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n");
    while client.line() != "\r" {}
    let frames = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n\x81\x05hello";
    client.send(frames);
    client.finish();
    assert_eq!(client.rest(), frames);
}

#[test]
fn clients_of_every_kind_are_named() {
    let backend = Backend::http("W");
    let pen = Setup::new().options("-H").listen(":::%").server(backend.address()).start();
    let port = pen.address.port();
    let request = "GET / HTTP/1.1\r\n\r\n";
    for (source, to, shown) in [("127.0.0.6", "127.0.0.1", "127.0.0.6"), ("::1", "[::1]", "::1")] {
        let number = backend.accepted();
        let mut client = Client::from(source, format!("{to}:{port}").parse().unwrap());
        client.send(request);
        assert_eq!(client.bytes(REPLY.len()), REPLY);
        client.finish();
        let got = String::from_utf8(backend.received_by(number)).unwrap();
        assert!(got.contains(&format!("X-Forwarded-For: {shown}\r\n")), "{got}");
    }
    drop(pen);
    let setup = Setup::new();
    let path = setup.file("listen");
    let pen = setup.options("-H").listen(&path).server(backend.address()).start();
    let number = backend.accepted();
    let mut client = Client::to_path(path.as_ref());
    client.send(request);
    assert_eq!(client.bytes(REPLY.len()), REPLY);
    client.finish();
    let got = String::from_utf8(backend.received_by(number)).unwrap();
    assert!(got.contains("X-Forwarded-Proto: http\r\n"), "{got}");
    drop(pen);
}

#[test]
fn it_is_turned_on_and_off_while_pen_runs() {
    let (backend, pen) = pen();
    pen.control("no http");
    let sent = "GET / HTTP/1.1\r\n\r\n";
    assert_eq!(passed(&backend, &pen, &[sent.as_bytes()], 1), sent);
    pen.control("http");
    assert_eq!(passed(&backend, &pen, &[sent.as_bytes()], 1), with_headers("GET / HTTP/1.1\r\n"));
    wait_until("all to be over", || pen.servers()[0].conn == 0);
}
