//! What TLS sends together: a ticket with the server's first bytes, the last bytes with the end.

use std::fs;
use std::io;
use std::sync::Mutex;
use std::sync::mpsc::channel;

use nix::sys::signal::Signal;
use openssl::ssl::SslVersion;

use crate::support::tls::{Kind, Pair, TlsClient, TlsEnd};
use crate::support::{Backend, wait_until};

use super::proxy_out::segments;
use super::tls::{pen, same};

#[test]
fn the_ticket_goes_with_the_first_bytes_of_the_server() {
    let authority = Pair::root("ca");
    let backend = Backend::greeter("A");
    let greeted = pen(&authority, Kind::Ec, &backend, same);
    let attempt = || {
        let client = greeted.client();
        let port = client.local_port();
        let mut tls = TlsClient::new(&authority).version(SslVersion::TLS1_3).over(client).unwrap();
        assert_eq!(tls.line(), "A");
        segments(port) == [2]
    };
    // The system waits only a moment for more bytes, and this machine may be slower once.
    assert!((0..10).any(|_| attempt()), "the handshake and the greeting take more than two segments");
    // A server that says nothing keeps nobody from the ticket.
    let silent = Backend::recorder("");
    let pen = pen(&authority, Kind::Ec, &silent, same);
    let client = pen.client();
    let port = client.local_port();
    let _tls = TlsClient::new(&authority).version(SslVersion::TLS1_3).over(client).unwrap();
    wait_until("the ticket", || segments(port) == [2]);
}

/// Whether all threads of a process are stopped.
fn is_stopped(pid: i32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let state =
        |thread: io::Result<fs::DirEntry>| fs::read_to_string(thread.unwrap().path().join("stat")).unwrap();
    threads.map(state).all(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T')))
}

#[test]
fn the_last_bytes_go_with_the_end() {
    let authority = Pair::root("ca");
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let ((answer, answers), (done, is_done)) = (channel(), channel());
        let answers = Mutex::new(answers);
        let backend = Backend::new(move |mut client| {
            client.send("ready\n");
            answers.lock().unwrap().recv().unwrap();
            client.send("the answer");
            drop(client);
            done.send(()).unwrap();
        });
        let pen = pen(&authority, Kind::Ec, &backend, same);
        let attempt = || {
            let client = pen.client();
            let port = client.local_port();
            let mut tls = TlsClient::new(&authority).version(version).over(client).unwrap();
            assert_eq!(tls.line(), "ready");
            let before = segments(port)[0];
            // Pen meets the answer and the end of it together.
            pen.signal(Signal::SIGSTOP);
            wait_until("pen to stop", || is_stopped(pen.pid()));
            answer.send(()).unwrap();
            is_done.recv().unwrap();
            pen.signal(Signal::SIGCONT);
            assert_eq!(tls.rest(), (b"the answer".to_vec(), TlsEnd::Clean));
            segments(port) == [before + 1]
        };
        // A segment that the system sends again, since it was not acknowledged soon, counts twice.
        assert!((0..10).any(|_| attempt()), "{version:?}: the answer and its end take more than one segment");
    }
}
