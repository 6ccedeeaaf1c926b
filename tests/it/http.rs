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

/// Reads a head; `None` at the end of the stream.
fn head(client: &mut Client) -> Option<String> {
    let mut head = String::new();
    loop {
        let line = client.line();
        match line.as_str() {
            "\r" => return Some(head),
            "" => return None,
            _ => head += &format!("{line}\n"),
        }
    }
}

/// A server that grants `Upgrade: x` and then echoes, and answers any other request with 200 and the request's head.
fn upgrader() -> Backend {
    Backend::new(|mut client| {
        while let Some(head) = head(&mut client) {
            if head.contains("Upgrade: x\r\n") {
                client.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n");
                let rest = client.rest();
                client.send(rest);
                return;
            }
            client.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{head}", head.len()));
        }
    })
}

/// The body of an answer: the request's head as the server saw it.
fn answer(client: &mut Client) -> String {
    let head = head(client).expect("an answer");
    let length = head.split("Content-Length: ").nth(1).and_then(|rest| rest.trim_end().parse().ok());
    String::from_utf8(client.bytes(length.expect("a length"))).unwrap()
}

const MARK: &str = "X-Forwarded-For: 127.0.0.1\r\n";

#[test]
fn an_upgraded_connection_is_left_alone() {
    let backend = upgrader();
    let pen = Setup::new().options("-H").server(backend.address()).start();
    let upgrade = "GET / HTTP/1.1\r\nConnection: keep-alive, Upgrade\r\nUpgrade: x\r\n\r\n";
    let frames = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n\x81\x05hello";
    for requests_before in 0..2 {
        for at_once in [false, true] {
            let mut client = pen.client();
            for _ in 0..requests_before {
                client.send("GET / HTTP/1.1\r\n\r\n");
                assert!(answer(&mut client).contains(MARK));
            }
            client.send(upgrade);
            if at_once {
                client.send(frames);
            }
            while client.line() != "\r" {}
            if !at_once {
                client.send(frames);
            }
            client.finish();
            assert_eq!(client.rest(), frames);
        }
    }
}

#[test]
fn an_upgrade_that_is_refused_leaves_every_later_request_marked() {
    let backend = upgrader();
    let pen = Setup::new().options("-H").server(backend.address()).start();
    let mut client = pen.client();
    let get = "GET /secret HTTP/1.1\r\n\r\n";
    // The server knows none of these, or was not asked properly.
    for upgrade in ["Connection: Upgrade\r\nUpgrade: h2c\r\n", "Upgrade: h2c\r\n"] {
        for pipelined in [false, true] {
            client.send(format!("GET / HTTP/1.1\r\n{upgrade}\r\n"));
            if pipelined {
                client.send(get);
            }
            assert!(answer(&mut client).contains(MARK));
            if !pipelined {
                client.send(get);
            }
            assert_eq!(
                answer(&mut client),
                format!("GET /secret HTTP/1.1\r\nX-Forwarded-Proto: http\r\n{MARK}")
            );
        }
    }
    // All of it again in one piece.
    let upgrade = "GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    client.send(format!("{get}{upgrade}{get}{upgrade}{get}"));
    for _ in 0..5 {
        assert!(answer(&mut client).contains(MARK));
    }
}

#[test]
fn a_client_may_send_any_number_of_requests_ahead() {
    const REQUESTS: usize = 5000;
    let (backend, pen) = pen();
    let number = backend.accepted();
    let mut client = pen.client_from(5);
    let mut writer = client.twin();
    let sender = std::thread::spawn(move || writer.send("GET / HTTP/1.1\r\n\r\n".repeat(REQUESTS)));
    (0..REQUESTS).for_each(|_| assert_eq!(client.bytes(REPLY.len()), REPLY));
    sender.join().unwrap();
    client.finish();
    let got = String::from_utf8(backend.received_by(number)).unwrap();
    assert_eq!(got, with_headers("GET / HTTP/1.1\r\n").repeat(REQUESTS));
}

#[test]
fn large_answers_pass_and_the_next_request_is_marked() {
    const LENGTH: usize = 30_000_000;
    let backend = Backend::new(|mut client| {
        while let Some(head) = head(&mut client) {
            assert!(head.contains(MARK), "{head}");
            client.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n"));
            client.send(vec![b'x'; LENGTH]);
        }
    });
    let pen = Setup::new().options("-H").server(backend.address()).start();
    let mut client = pen.client();
    for _ in 0..3 {
        client.send("GET / HTTP/1.1\r\n\r\n");
        assert!(head(&mut client).is_some());
        assert!(client.bytes(LENGTH).iter().all(|byte| *byte == b'x'));
    }
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
