//! Connections that pen ends: one in the middle of an answer is reset, and one at rest ends cleanly.

use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use nix::sys::signal::Signal;

use crate::support::client::End;
use crate::support::tls::{Kind, Pair, TlsClient, TlsEnd};
use crate::support::{Backend, Client, Pen, Setup, wait_until};

use super::checks::becomes;

const HALF: &str = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf";
const WHOLE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole";

/// Reads the head of a request, up to its end; returns its method and its path.
fn request(client: &mut Client) -> Option<(String, String)> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while matches!(client.0.read(&mut byte), Ok(1)) {
        head.push(byte[0]);
        if head.ends_with(b"\r\n\r\n") {
            let mut words = std::str::from_utf8(&head).ok()?.split(' ').map(str::to_owned);
            return Some((words.next()?, words.next()?));
        }
    }
    None
}

/// Sends the answer that the path of a request numbers, and nothing more.
fn answering(answers: &'static [&'static str]) -> Backend {
    Backend::new(move |mut client| {
        while let Some((_, path)) = request(&mut client) {
            client.send(answers[path[1..].parse::<usize>().unwrap()]);
        }
    })
}

/// Whose server has a check of its own, and loses its connections when that fails.
fn checked(setup: Setup, checked: SocketAddr) -> Setup {
    let check = format!("check c type tcp port {} every 0.1 timeout 0.5 rise 1 fall 1", checked.port());
    setup.command(check).command("server 0 check c on_down close")
}

#[test]
fn an_answer_that_a_server_leaves_unfinished_is_not_taken_for_complete() {
    for (options, answer, end) in [
        ("", HALF, End::Reset),
        // Pen does not know that it is complete.
        ("", WHOLE, End::Reset),
        ("-H", HALF, End::Reset),
        ("-H", WHOLE, End::Clean),
    ] {
        let answers: &[&str] = if answer == HALF { &[HALF] } else { &[WHOLE] };
        let (backend, port) = (answering(answers), Backend::greeter("checked"));
        let setup = checked(Setup::new(), port.address()).options(options);
        let pen = setup.servers([&backend]).start();
        becomes(&pen, 0, "up");
        let mut client = pen.client();
        client.send("GET /0 HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.bytes(answer.len()), answer.as_bytes());
        port.stop();
        assert_eq!(client.end(), end, "{options} {answer}");
    }
}

#[test]
fn over_tls_such_an_answer_ends_without_close_notify() {
    let authority = Pair::root("ca");
    for (options, answer, end) in
        [("", HALF, TlsEnd::Cut), ("-H", HALF, TlsEnd::Cut), ("-H", WHOLE, TlsEnd::Clean)]
    {
        let answers: &[&str] = if answer == HALF { &[HALF] } else { &[WHOLE] };
        let (backend, port) = (answering(answers), Backend::greeter("checked"));
        let pen = super::tls::pen(&authority, Kind::Ec, &backend, |setup| {
            checked(setup, port.address()).options(options)
        });
        becomes(&pen, 0, "up");
        let mut client = TlsClient::new(&authority).connect(pen.address);
        client.send("GET /0 HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.bytes(answer.len()), answer.as_bytes());
        port.stop();
        assert_eq!(client.rest().1, end, "{options} {answer}");
    }
}

/// Requests and answers, and how the connection ends that pen ends after that.
const DIALOGUES: [(&str, &str, End); 12] = [
    ("GET", HALF, End::Reset),
    ("GET", "HTTP/1.1 200 OK\r\nContent-Le", End::Reset),
    ("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", End::Reset),
    ("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n", End::Reset),
    // It lasts until the server ends.
    ("GET", "HTTP/1.1 200 OK\r\n\r\nabc", End::Reset),
    ("GET", "HTTP/1.0 200 OK\r\n\r\nabc", End::Reset),
    ("GET", "HTTP/1.1 103 Early Hints\r\n\r\n", End::Reset),
    ("GET", WHOLE, End::Clean),
    ("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", End::Clean),
    ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n", End::Clean),
    ("GET", "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", End::Clean),
    ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", End::Clean),
];

const ANSWERS: [&str; DIALOGUES.len()] = {
    let mut answers = [""; DIALOGUES.len()];
    let mut n = 0;
    while n < answers.len() {
        answers[n] = DIALOGUES[n].1;
        n += 1;
    }
    answers
};

/// A client for each of the dialogues, which has got its answer.
fn talking(pen: &Pen) -> Vec<Client> {
    let talk = |(n, (method, answer, _)): (usize, &(&str, &str, End))| {
        let mut client = pen.client();
        client.send(format!("{method} /{n} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(client.bytes(answer.len()), answer.as_bytes());
        client
    };
    DIALOGUES.iter().enumerate().map(talk).collect()
}

#[track_caller]
fn end_as_they_must(clients: Vec<Client>, what: &str) {
    for (mut client, (method, answer, end)) in clients.into_iter().zip(DIALOGUES) {
        assert_eq!(client.end(), end, "{what}: {method}: {answer}");
    }
}

#[test]
fn in_http_mode_pen_knows_whether_an_answer_is_complete() {
    // A dump shows the traffic, and changes nothing.
    for options in ["-H", "-H -dd"] {
        let backend = answering(&ANSWERS);
        let mut pen = Setup::new().options(options).servers([&backend]).start();
        let clients = talking(&pen);
        (0..DIALOGUES.len()).for_each(|n| _ = pen.control(&format!("close {n}")));
        end_as_they_must(clients, "close N");
        pen.becomes_idle();
        let clients = talking(&pen);
        assert_eq!(pen.control("close server 0"), "");
        end_as_they_must(clients, "close server");
        let clients = talking(&pen);
        pen.control("idle_timeout 1");
        end_as_they_must(clients, "idle_timeout");
        pen.control("idle_timeout 0");
        let clients = talking(&pen);
        pen.signal(Signal::SIGTERM);
        end_as_they_must(clients, "stop");
        assert!(pen.wait().is_some_and(|status| status.success()));
    }
}

#[test]
fn in_http_mode_the_same_holds_after_the_client_has_ended_its_side() {
    for (answer, end) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", End::Clean),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", End::Reset),
    ] {
        // Servers that go on after the end of the requests.
        let held = Arc::<Mutex<Vec<Client>>>::default();
        let holds = Arc::clone(&held);
        let backend = Backend::new(move |mut client| {
            request(&mut client);
            client.send(answer);
            assert_eq!(client.rest(), b"");
            holds.lock().unwrap().push(client);
        });
        for close in ["close 0", "close server 0", "idle_timeout 1"] {
            let pen = Setup::new().options("-H").servers([&backend]).start();
            let mut client = pen.client();
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(client.bytes(answer.len()), answer.as_bytes());
            client.finish();
            wait_until("the end of the requests", || !held.lock().unwrap().is_empty());
            pen.control(close);
            assert_eq!(client.end(), end, "{close}: {answer}");
            held.lock().unwrap().clear();
        }
    }
}

#[test]
fn without_http_mode_what_was_carried_last_tells_whether_more_was_to_come() {
    let backend = Backend::new(|mut client| {
        client.send("220 hello\n");
        while request(&mut client).is_some() {}
    });
    let pen = Setup::new().servers([&backend]).start();
    let mut clients = [pen.client(), pen.client()];
    clients.iter_mut().for_each(|client| assert_eq!(client.line(), "220 hello"));
    clients[0].send("no answer comes to this");
    wait_until("it to be carried", || pen.servers()[0].sx > 0);
    assert_eq!(pen.control("close server 0"), "");
    assert_eq!(clients.map(|mut client| client.end()), [End::Reset, End::Clean]);
}

#[test]
fn what_ends_the_connections_of_a_new_server_leaves_those_of_the_removed_one_in_its_slot() {
    let (old, other) = (Backend::echo(), Backend::echo());
    let refusing = crate::support::backend::Refusing::new();
    let check = "check it type tcp every 0.1 timeout 0.5 rise 1 fall 1";
    let setup = Setup::new().options("-r").command(check).servers([&old, &other]);
    let pen = setup.start();
    pen.control("server 0 name www1");
    let mut clients = [pen.client(), pen.client()];
    let mut both_echo = || {
        for client in &mut clients {
            client.send("x");
            assert_eq!(client.bytes(1), b"x");
        }
    };
    both_echo();
    pen.control("no server www1");
    let at = refusing.address();
    let added = format!("server www3 address {} port {} check it on_down close", at.ip(), at.port());
    assert_eq!(pen.control(&added), "");
    becomes(&pen, 0, "down");
    pen.control("close server www3");
    pen.control("close server 0");
    both_echo();
}
