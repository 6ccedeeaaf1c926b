//! Moving the listening address.

use crate::support::backend::{Backend, greeters};
use crate::support::pen::free_port;
use crate::support::{Client, Pen, Setup, wait_until};

use super::reload::hup;

#[test]
fn an_unchanged_listen_keeps_its_socket_and_whoever_waits_in_it() {
    let backends = greeters(1);
    let mut tries = 0;
    let (pen, port, file) = loop {
        tries += 1;
        let port = free_port();
        let setup = Setup::new();
        let file = setup.write("file", format!("listen 127.0.0.1:{port}\n"));
        match setup.options(format!("-x 1 -F {file}")).listen("1").servers(&backends).try_start() {
            Ok(pen) => break (pen, port, file),
            Err(failure) => assert!(tries < 5 && failure.stderr.contains("in use"), "{failure:?}"),
        }
    };
    let address = ([127, 0, 0, 1], port).into();
    let mut first = Client::to(address);
    assert_eq!(first.line(), "A");
    let mut waiting: Vec<Client> = (0..5).map(|_| Client::to(address)).collect();
    // The same address in other words.
    std::fs::write(&file, format!("listen [127.0.0.1]:{port}\n")).unwrap();
    hup(&pen);
    assert!(!pen.stderr().contains("restart"), "{}", pen.stderr());
    assert!(!pen.stderr().contains("listen:"), "{}", pen.stderr());
    drop(first);
    serve_all(&mut waiting);
}

/// All of them are served, one after the other, in whatever order.
fn serve_all(waiting: &mut Vec<Client>) {
    wait_until("everybody to be served", || {
        let millisecond = std::time::Duration::from_millis(1);
        if let Some(at) = waiting.iter().position(|c| !c.is_silent_for(millisecond)) {
            assert_eq!(waiting.swap_remove(at).line(), "A");
        }
        waiting.is_empty()
    });
}

#[test]
fn moving_the_listening_address_strands_nobody() {
    let backends = greeters(1);
    for workers in [1, 3] {
        let pen =
            Setup::new().options("-x 1").command(format!("workers {workers}")).servers(&backends).start();
        let (first, _) = pen.hold(2);
        // These wait in the old queue.
        let mut waiting: Vec<Client> = (0..5).map(|_| pen.client()).collect();
        let port = (0..5)
            .find_map(|_| {
                let port = free_port();
                (pen.control(&format!("listen 127.0.0.1:{port}")) == format!("127.0.0.1:{port}\n"))
                    .then_some(port)
            })
            .expect("a free port");
        let new = Client::to(([127, 0, 0, 1], port).into());
        drop(first);
        waiting.push(new);
        serve_all(&mut waiting);
        // The old address is free for others.
        wait_until("the old port to be given up", || std::net::TcpListener::bind(pen.address).is_ok());
        assert_eq!(Client::to(([127, 0, 0, 1], port).into()).line(), "A");
    }
}

#[test]
fn a_full_pen_that_moves_and_moves_again_strands_nobody_and_ends() {
    let backends = greeters(1);
    let mut pen = Setup::new().options("-x 1").command("workers 1").servers(&backends).start();
    let move_away = |pen: &Pen| {
        let port = (0..5).map(|_| free_port()).find(|port| {
            let address = format!("127.0.0.1:{port}");
            pen.control(&format!("listen {address}")) == format!("{address}\n")
        });
        ([127, 0, 0, 1], port.expect("a free port")).into()
    };
    let (first, _) = pen.hold(2);
    let mut waiting = vec![pen.client()];
    let second = move_away(&pen);
    waiting.push(Client::to(second));
    let third = move_away(&pen);
    waiting.push(Client::to(third));
    drop(first);
    serve_all(&mut waiting);
    // The end does not wait for those who wait.
    pen.becomes_idle();
    let _first = Client::to(third);
    wait_until("the only connection to be taken", || pen.servers()[0].conn == 1);
    let _waiting = Client::to(third);
    move_away(&pen);
    assert_eq!(pen.terminate().unwrap().code(), Some(0));
}

#[test]
fn the_listening_address_in_other_words_keeps_its_socket() {
    let backends = greeters(1);
    let pen = Setup::new().servers(&backends).start();
    let other = format!("[::ffff:127.0.0.1]:{}", pen.address.port());
    for address in
        [format!("127.0.0.1:{:0>6}", pen.address.port()), format!("[127.0.0.1]:{}", pen.address.port())]
    {
        assert_eq!(pen.control(&format!("listen {address}")), format!("{address}\n"));
        assert_eq!(pen.choice(2), "A");
    }
    // One that differs and overlaps is refused with the reason.
    let reply = pen.control(&format!("listen {other}"));
    assert!(reply.starts_with("error: listen: ") && reply.contains("in use"), "{reply}");
    assert_eq!(pen.choice(2), "A");
}

#[test]
fn an_address_that_cannot_be_had_changes_nothing() {
    let backends = greeters(1);
    let taken = Backend::greeter("taken");
    let pen = Setup::new().servers(&backends).start();
    // C pen ended.
    let reply = pen.control(&format!("listen {}", taken.address()));
    assert!(reply.starts_with("error: listen") && reply.contains("in use"), "{reply}");
    assert_eq!(pen.control("listen"), format!("{}\n", pen.operand()));
    assert_eq!(pen.choice(2), "A");
}
