//! What a command changes for connections in progress, which is what it changes there in C pen.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use crate::support::backend::Backend;
use crate::support::{Client, Pen, Setup, Stopwatch, wait_for, wait_until};

/// A connection that has carried something already.
fn open(pen: &Pen) -> Client {
    let mut client = pen.client();
    exchange(&mut client, "first");
    client
}

fn exchange(client: &mut Client, text: &str) {
    client.send(text);
    assert_eq!(client.bytes(text.len()), text.as_bytes());
}

#[test]
fn the_request_log_begins_and_ends() {
    let echo = Backend::echo();
    let pen = Setup::new().server(echo.address()).start();
    let mut client = open(&pen);
    let file = pen.file("log");
    let logged = || {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        text.lines().map(|line| line.split(' ').skip(3).collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
    };
    for turn in 1..=2 {
        exchange(&mut client, "GET /before\n");
        pen.control(&format!("log {file}"));
        exchange(&mut client, "GET /within\n");
        wait_until("the request to be logged", || logged().len() == turn);
        pen.control("no log");
        exchange(&mut client, "GET /after\n");
    }
    assert_eq!(logged(), ["GET /within"; 2]);
}

#[test]
fn an_idle_timeout_ends_who_is_idle_already() {
    let echo = Backend::echo();
    let pen = Setup::new().server(echo.address()).start();
    let mut clients = [open(&pen), open(&pen)];
    pen.control("idle_timeout 1");
    let stopwatch = Stopwatch::start();
    clients.iter_mut().for_each(|client| _ = client.end());
    stopwatch.is_below(Duration::from_secs(4));
    pen.becomes_idle();
    // It may be longer, or none, before its time has come.
    let mut client = wait_for("a client whose time has not come", || {
        pen.control("idle_timeout 1");
        let begin = Instant::now();
        let mut client = pen.client();
        client.0.write_all(b"first").and_then(|()| client.0.read_exact(&mut [0; 5])).ok()?;
        pen.control("idle_timeout 0");
        (begin.elapsed() < Duration::from_secs(1)).then_some(client)
    });
    assert!(client.is_silent_for(Duration::from_millis(1500)));
    exchange(&mut client, "still there");
}

#[test]
fn fastclose_is_asked_when_one_end_has_come() {
    let patient = Backend::new(|mut client| {
        client.send("P\n");
        client.end();
        client.send("never sent on");
    });
    let pen = Setup::new().server(patient.address()).start();
    let mut client = pen.client();
    assert_eq!(client.line(), "P");
    pen.control("tcp_fastclose down");
    client.finish();
    assert_eq!(client.rest(), b"");
    pen.becomes_idle();
}
