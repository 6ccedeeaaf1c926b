//! HTTP mode: what the real program makes of heads. Each kind of head is tested beside the code, in `core/http/tests`.

use std::fs;

use crate::support::backend::Backend;
use crate::support::nginx::Nginx;
use crate::support::{Client, Pen, Setup, directory, skipped};

const MARK: &str = "X-Forwarded-For: 127.0.0.5\r\n";

/// A pen in HTTP mode before a server that keeps what it gets.
fn pen() -> (Backend, Pen) {
    let recorder = Backend::recorder("ok");
    let pen = Setup::new().options("-H").server(recorder.address()).start();
    (recorder, pen)
}

/// What the server gets of bytes that come in pieces of a size, and what the client gets.
fn exchange(recorder: &Backend, pen: &Pen, sent: &[u8], size: usize) -> (Vec<u8>, Vec<u8>) {
    let number = recorder.accepted();
    let mut client = pen.client_from(5);
    client.0.set_tcp_nodelay(true).unwrap();
    for piece in sent.chunks(size) {
        client.send(piece);
    }
    client.finish();
    let answer = client.rest();
    (recorder.received_by(number), answer)
}

#[test]
fn what_is_written_anew_reaches_the_server_however_it_comes() {
    let (recorder, pen) = pen();
    let sent = b"\r\nGET /\xe9 HTTP/1.1\nA: b\r\n c\r\n\r\n";
    let got = [b"\r\nGET /\xe9 HTTP/1.1\r\nA: b c\r\nX-Forwarded-Proto: http\r\n", MARK.as_bytes(), b"\r\n"];
    for size in [1, usize::MAX] {
        let (received, _) = exchange(&recorder, &pen, sent, size);
        assert_eq!(received.escape_ascii().to_string(), got.concat().escape_ascii().to_string());
    }
}

#[test]
fn what_is_refused_is_answered_400_and_reaches_no_server() {
    let (recorder, pen) = pen();
    // More than pen reads of a head, and than the sockets hold.
    let long = [b"GET /".as_slice(), &vec![b'a'; 300_000], b" HTTP/1.1\r\n\r\n"].concat();
    // A head, a body whose end is in doubt, and the end of the client's stream within a head.
    for sent in [
        &b"GET /\xff HTTP/1.1\r\nbad header\r\n\r\n"[..],
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx",
        b"GET / HTTP/1.1\r\nHost: x\r\n",
        &long,
    ] {
        for size in if sent.len() < 1000 { [1, usize::MAX] } else { [10_000, usize::MAX] } {
            let (got, answer) = exchange(&recorder, &pen, sent, size);
            let shown = sent[..sent.len().min(80)].escape_ascii();
            assert_eq!(got.escape_ascii().to_string(), "", "{shown}");
            assert!(answer.starts_with(b"HTTP/1.1 400 Bad Request\r\n"), "{shown}");
            assert!(answer.ends_with(b"\r\n\r\nBad request\n"), "{shown}");
        }
    }
}

#[test]
fn a_refusal_is_told_with_its_reason_and_its_request_is_logged() {
    let backend = Backend::http("W");
    let setup = Setup::new();
    let log = setup.file("log");
    let pen = setup.options(format!("-H -d -l {log}")).server(backend.address()).start();
    exchange(&backend, &pen, b"GET /\xe9 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\nA: b\0\r\n\r\n", usize::MAX);
    pen.says_with_port("client 127.0.0.5:", ": HTTP request refused: the head holds NUL, or CR without LF");
    crate::support::wait_until("both requests to be in the log", || {
        fs::read(&log).is_ok_and(|text| text.iter().filter(|byte| **byte == b'\n').count() == 2)
    });
    let text = String::from_utf8_lossy(&fs::read(&log).unwrap()).into_owned();
    assert!(text.contains(" GET /") && text.contains(" GET /2 HTTP/1.1\n"), "{text}");
}

#[test]
fn the_answers_before_a_refusal_come_first() {
    let backend = Backend::http("W");
    let pen = Setup::new().options("-H").server(backend.address()).start();
    let reply = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nW";
    for count in 0..3 {
        let number = backend.accepted();
        let mut client = pen.client_from(5);
        client.send(
            "GET / HTTP/1.1\r\n\r\n".repeat(count)
                + "GET / HTTP/1.1\r\nbad\r\n\r\nGET /secret HTTP/1.1\r\n\r\n",
        );
        let answer = client.rest();
        assert!(answer.starts_with(&reply.repeat(count)), "{}", answer.escape_ascii());
        assert!(answer[count * reply.len()..].starts_with(b"HTTP/1.1 400 "), "{}", answer.escape_ascii());
        let got = String::from_utf8(backend.received_by(number)).unwrap();
        assert_eq!((got.matches(MARK).count(), got.contains("secret")), (count, false), "{got}");
    }
}

#[test]
fn a_broken_chunk_ends_the_connection() {
    let (recorder, pen) = pen();
    let head = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n";
    let (got, answer) = exchange(&recorder, &pen, format!("{head}\r\n5\nGET /").as_bytes(), usize::MAX);
    let got = String::from_utf8(got).unwrap();
    assert_eq!(got, format!("{head}X-Forwarded-Proto: http\r\n{MARK}\r\n5"));
    assert!(answer.starts_with(b"HTTP/1.1 400 "), "{}", answer.escape_ascii());
}

#[test]
fn what_is_not_http_passes_unchanged_and_does_not_wait() {
    let (recorder, pen) = pen();
    // A greeting with a request after it, and a record of TLS.
    for sent in [
        &b"EHLO x\r\nMAIL FROM:<a>\r\nGET / HTTP/1.1\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ] {
        for size in [1, usize::MAX] {
            let (got, answer) = exchange(&recorder, &pen, sent, size);
            assert_eq!((&got[..], &answer[..]), (sent, &b"ok"[..]), "{}", sent.escape_ascii());
        }
    }
    let backend = Backend::echo();
    let pen = Setup::new().options("-H").server(backend.address()).start();
    let mut client = pen.client();
    client.send(b"\x16\x03");
    assert_eq!(client.bytes(2), b"\x16\x03");
}

/// What nginx serves of odd requests it serves with the client's address; what it would not serve may be answered by pen.
#[test]
fn nginx_serves_no_request_without_the_mark() {
    let directory = directory::directory();
    let server = "location / { return 200 \"for=$http_x_forwarded_for\\n\"; }";
    let Some(nginx) = Nginx::start("127.0.0.1", directory.path(), "access_log off;", server) else {
        return skipped("odd requests to nginx", "no nginx");
    };
    let pen = Setup::new().options("-H").server(nginx.address).start();
    let host = "Host: x\r\nConnection: close\r\n";
    for (request, served) in [
        (format!("GET /\u{e9} HTTP/1.1\r\n{host}\r\n"), true),
        (format!("\r\nGET / HTTP/1.1\r\n{host}\r\n"), true),
        (format!("\rGET / HTTP/1.1\r\n{host}\r\n"), true),
        (format!("GET  / HTTP/1.1 \r\n{host}\r\n"), true),
        (format!("GET / HTTP/1.1\n{}\n", host.replace('\r', "")), true),
        (format!("GET / HTTP/1.1\r\n{host}A: b\r\n c\r\n\r\n"), true),
        (format!("FOO / HTTP/1.7\r\n{host}\r\n"), true),
        (format!("GET / HTTP/1.1\r\n{host}A: b\r\r\n\r\n"), false),
        ("GET /\r\n".into(), false),
        ("GET / \n".into(), false),
        ("GET http://a/\r\n\r\n".into(), false),
    ] {
        let ask = |mut client: Client| {
            client.send(&request);
            client.finish();
            String::from_utf8(client.rest()).unwrap()
        };
        let bare = ask(Client::to(nginx.address));
        let ours = ask(pen.client_from(5));
        assert!(bare.contains("for=\n") || request.contains(" c\r\n"), "nginx serves {request:?}: {bare}");
        assert_eq!(ours.contains("for=127.0.0.5\n"), served, "{request:?}: {ours}");
        assert!(served || ours.starts_with("HTTP/1.1 400 "), "{request:?}: {ours}");
    }
}
