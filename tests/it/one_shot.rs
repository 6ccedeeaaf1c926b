//! Event ports that report an event once, as those of Oracle Solaris: with `PEN_PORTABLE=oneshot` pen waits as they ask for.
//!
//! `cargo xtask check-event-ports` runs these tests with a pen that really has such ports, emulated.

use std::time::Duration;

use crate::support::backend::Backend;
use crate::support::udp::{Asker, Server};
use crate::support::{Setup, process};

fn setup() -> Setup {
    Setup::new().environment("PEN_PORTABLE", "oneshot").command("workers 2")
}

/// Neither connections that wait nor listening sockets nor timers that never come cost anything.
#[test]
fn what_waits_costs_no_processor_time() {
    let echo = Backend::echo();
    let pen = setup().server(echo.address()).start();
    let mut clients: Vec<_> = (0..8).map(|_| pen.client()).collect();
    for round in 0..50 {
        for client in &mut clients {
            let text = format!("round {round}");
            client.send(&text);
            assert_eq!(client.bytes(text.len()), text.as_bytes());
        }
    }
    assert!(pen.answers());
    pen.has_no_control_connections();
    process::uses_at_most(pen.pid(), Duration::from_millis(60), || {
        assert!(clients[0].is_silent_for(Duration::from_millis(1200)));
    });
    // And all of them are served after that, as is who comes then.
    for client in clients.iter_mut().chain(&mut [pen.client()]) {
        client.send("still there");
        assert_eq!(client.bytes(11), b"still there");
    }
}

#[test]
fn datagrams_pass_one_after_the_other_and_cost_nothing_afterwards() {
    let echo = Server::echo();
    let pen = setup().options("-U").server(echo.address).start();
    let clients: Vec<_> = (1..5).map(|n| Asker::new(n, pen.address)).collect();
    for round in 0..50 {
        for client in &clients {
            let text = format!("round {round}");
            assert_eq!(client.ask(text.as_bytes()), text.as_bytes());
        }
    }
    process::uses_at_most(pen.pid(), Duration::from_millis(60), || {
        assert!(clients[0].is_silent_for(Duration::from_millis(1200)));
    });
    assert_eq!(clients[0].ask(b"still there"), b"still there");
}
