//! How connections end: what was sent before an end arrives, and a reset stays a reset.

use std::io::Write as _;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use crate::support::backend::Backend;
use crate::support::client::End;
use crate::support::pattern::{each_way, receive_pattern, send_pattern};
use crate::support::{Setup, wait_until};

#[test]
fn a_client_that_ends_first_gets_the_whole_reply() {
    each_way(|setup| {
        let recorder = Backend::recorder("the whole reply");
        let pen = setup.server(recorder.address()).start();
        let mut client = pen.client();
        client.send("request");
        client.finish();
        // C pen, on epoll, lost the reply.
        assert_eq!(client.text(), "the whole reply");
        assert_eq!(recorder.received_by(0), b"request");
        pen.becomes_idle();
    });
}

/// Ends first, after a greeting; keeps what still comes.
fn early_leaver() -> (Backend, Arc<Mutex<Vec<u8>>>) {
    let kept = Arc::<Mutex<Vec<u8>>>::default();
    let of_backend = Arc::clone(&kept);
    let backend = Backend::new(move |mut client| {
        client.send("goodbye");
        client.finish();
        let rest = client.rest();
        *of_backend.lock().unwrap() = rest;
    });
    (backend, kept)
}

#[test]
fn a_server_that_ends_first_still_gets_what_the_client_sends() {
    each_way(|setup| {
        let (backend, kept) = early_leaver();
        let pen = setup.server(backend.address()).start();
        let mut client = pen.client();
        assert_eq!(client.text(), "goodbye");
        for piece in ["and ", "then ", "some"] {
            client.send(piece);
        }
        client.finish();
        // C pen lost what came together with the end.
        wait_until("what was sent to arrive", || *kept.lock().unwrap() == b"and then some");
        pen.becomes_idle();
    });
}

#[test]
fn a_half_close_comes_after_megabytes_that_nobody_reads_yet() {
    const COUNT: u64 = 8 << 20;
    each_way(|setup| {
        let backend = Backend::new(|mut client| send_pattern(&mut client, 3, COUNT));
        let pen = setup.server(backend.address()).start();
        let mut client = pen.client();
        client.finish();
        wait_until("pen to be full", || {
            let before = pen.servers()[0].rx;
            client.is_silent_for(Duration::from_millis(1));
            before > 0 && pen.servers()[0].rx == before
        });
        assert_eq!(receive_pattern(&mut client, 3), COUNT);
    });
}

#[test]
fn a_reset_by_the_client_reaches_the_server() {
    each_way(|setup| {
        let ended = Arc::new(Mutex::new(None));
        let end = Arc::clone(&ended);
        let backend = Backend::new(move |mut client| {
            client.send("hello\n");
            let how = client.end();
            *end.lock().unwrap() = Some(how);
        });
        let pen = setup.server(backend.address()).start();
        let mut client = pen.client();
        assert_eq!(client.line(), "hello");
        client.reset();
        wait_until("the server to hear of it", || ended.lock().unwrap().is_some());
        // A clean end would make what is broken off look complete.
        assert_eq!(*ended.lock().unwrap(), Some(End::Reset));
        pen.becomes_idle();
    });
}

#[test]
fn what_a_server_sent_before_its_reset_is_delivered_first() {
    each_way(|setup| {
        let backend = Backend::new(|mut client| {
            client.send("half a reply");
            // Pen has read it when it has asked for more, which its answer to the next byte shows.
            assert_eq!(client.bytes(4), b"more");
            client.reset();
        });
        let pen = setup.server(backend.address()).start();
        let mut client = pen.client();
        assert_eq!(client.bytes(12), b"half a reply");
        client.send("more");
        assert_eq!(client.end(), End::Reset);
        pen.becomes_idle();
    });
}

#[test]
fn a_server_that_answers_and_leaves_in_the_middle_of_a_request_is_heard() {
    each_way(|setup| {
        let backend = Backend::new(|mut client| {
            client.bytes(1000);
            client.send("413 too large\n");
            client.finish();
            // Lets the rest come and go, as a web server's lingering close does.
            client.end();
        });
        let pen = setup.server(backend.address()).start();
        let mut client = pen.client();
        let mut twin = client.twin();
        let sender = thread::spawn(move || _ = twin.0.write_all(&vec![b'x'; 4 << 20]));
        assert_eq!(client.line(), "413 too large");
        sender.join().unwrap();
    });
}

#[test]
fn one_end_of_data_is_enough_with_tcp_fastclose() {
    // (setting, whether a client's end closes, whether a server's does)
    for (how, down, up) in
        [("off", false, false), ("up", false, true), ("down", true, false), ("both", true, true)]
    {
        let (end, ends) = mpsc::channel::<()>();
        let ends = Mutex::new(ends);
        let patient = Backend::new(move |mut client| {
            client.send("P\n");
            _ = ends.lock().unwrap().recv();
        });
        let pen = Setup::new().command(format!("tcp_fastclose {how}")).server(patient.address()).start();
        let mut client = pen.client();
        assert_eq!(client.line(), "P");
        client.finish();
        if down {
            // Pen closes though the server never does.
            client.end();
        } else {
            assert!(client.is_silent_for(Duration::from_millis(50)), "{how}");
        }
        drop(end);
        client.end();
        pen.becomes_idle();
        let (leaver, kept) = early_leaver();
        pen.control(&format!("server 0 port {}", leaver.port()));
        let mut client = pen.client();
        assert_eq!(client.text(), "goodbye");
        if up {
            // Pen closes though the client never does.
            wait_until("the connection to be closed", || pen.servers()[0].conn == 0);
        } else {
            client.send("still here");
            client.finish();
            wait_until("it to arrive", || *kept.lock().unwrap() == b"still here");
        }
    }
}
