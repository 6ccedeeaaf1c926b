//! Those who wait in the queue while pen runs out of descriptors, reads its files again, or ends.

use nix::sys::signal::Signal;

use crate::support::backend::{Refusing, greeters};
use crate::support::client::End;
use crate::support::{Backend, Setup, wait_until};

use super::queue::{is_silent, queue, waiting};
use super::reload::hup;

/// The line of a server with that limit.
fn line(n: usize, backend: &Backend, max: usize) -> String {
    format!("server {n} address 127.0.0.1 port {} max {max}\n", backend.port())
}

#[test]
fn with_all_descriptors_in_use_everybody_is_served_in_order() {
    let backends = greeters(1);
    // As many connections as there are descriptors for, and all but one wait.
    let setup = Setup::new().wrapper("prlimit --nofile=120:120").options("-t 1000 -x 5000");
    let setup = setup.command("queue_max 1000").command("workers 1");
    let pen = setup.server(format!("{}:1", backends[0].address())).start();
    let max: usize = pen.control("conn_max").trim().parse().unwrap();
    let (held, _) = pen.hold(2);
    let mut clients = queue(&pen, max - 1);
    // There is no room for these, not even to be accepted.
    clients.extend((0..5).map(|n| pen.client_from(200 + n)));
    assert!(is_silent(&clients[0]));
    assert_eq!(waiting(&pen), max - 1);
    drop(held);
    // Whoever is served ends, and the next one follows.
    for mut client in clients {
        assert_eq!(client.line(), "A");
    }
    pen.becomes_idle();
    assert!(!pen.stderr().contains("Too many open files"), "{}", pen.stderr());
}

#[test]
fn a_reload_forgets_nobody() {
    let backends = greeters(3);
    let setup = Setup::new();
    let file = setup.write("file", format!("reload_mode exact\nqueue_max 9\n{}", line(0, &backends[0], 1)));
    let pen = setup.options(format!("-r -t 1000 -F {file}")).start();
    let reload = |text: String| {
        pen.write("file", text);
        hup(&pen);
    };
    let held = pen.hold(2);
    let mut clients = queue(&pen, 6).into_iter();
    let mut next = || clients.next().unwrap();
    // Nothing has changed.
    reload(pen.read("file"));
    assert_eq!(waiting(&pen), 6);
    // A limit is raised.
    reload(format!("reload_mode exact\nqueue_max 9\n{}", line(0, &backends[0], 2)));
    let mut first = next();
    assert_eq!(first.line(), "A");
    // Other servers instead: the old one drains away.
    reload(format!("reload_mode exact\nqueue_max 9\n{}", line(1, &backends[1], 1)));
    let mut second = next();
    assert_eq!(second.line(), "B");
    drop((held, first));
    wait_until("the old server to be gone", || pen.servers().iter().map(|server| server.number).eq([1]));
    assert_eq!(waiting(&pen), 4);
    // A mode that keeps what the file does not name.
    reload("reload_mode keep\n".into());
    assert_eq!(waiting(&pen), 4);
    // No queue from now on: those in it still wait, others do not.
    reload(format!("reload_mode keep\nqueue_max 0\n{}", line(2, &backends[2], 1)));
    let mut third = next();
    assert_eq!(third.line(), "C");
    let mut fourth = next();
    assert!(is_silent(&fourth));
    assert_eq!(pen.client_from(30).line(), "");
    drop(third);
    assert_eq!(fourth.line(), "C");
    // Nothing is left to wait for.
    reload("reload_mode keep\nserver 1 state maint\nserver 2 state maint\n".into());
    assert_eq!(next().line(), "");
    assert_eq!(next().line(), "");
}

#[test]
fn a_server_that_is_exchanged_for_another_costs_nobody_who_waits() {
    let backends = greeters(2);
    for options in ["reload_mode exact\n", "reload_mode exact\nworkers 4\n"] {
        let setup = Setup::new();
        let with = |n: usize| format!("{options}queue_max 9\n{}", line(n, &backends[n], 1));
        let file = setup.write("file", with(0));
        let pen = setup.options(format!("-r -t 1000 -F {file}")).start();
        let mut held = pen.hold(2);
        for round in 1..30 {
            let mut clients = queue(&pen, 3);
            pen.write("file", with(round % 2));
            let reply = pen.control("reload");
            assert!(reply.contains("no server"), "{reply}");
            let expected = ["A", "B"][round % 2];
            let mut last = clients.pop().unwrap();
            // Each ends, and the next one gets its place.
            for mut client in clients {
                assert_eq!(client.line(), expected, "{}", pen.stderr());
            }
            assert_eq!(last.line(), expected, "{}", pen.stderr());
            drop(std::mem::replace(&mut held, (last, expected.into())));
        }
    }
}

#[test]
fn pen_ends_without_waiting_for_them() {
    let backends = greeters(1);
    for how in ["TERM", "exit"] {
        let setup = Setup::new().options("-t 1000").command("queue_max 10");
        let mut pen = setup.options("-X").server(format!("{}:1", backends[0].address())).start();
        let (mut held, _) = pen.hold(2);
        let clients = queue(&pen, 2);
        match how {
            "TERM" => pen.signal(Signal::SIGTERM),
            _ => _ = pen.try_control("exit"),
        }
        for mut client in clients {
            assert_eq!(client.end(), End::Clean);
        }
        held.end();
        assert!(pen.wait().is_some_and(|status| status.success()), "{how}");
    }
}

#[test]
fn a_full_queue_has_room_for_who_comes_back_to_it() {
    let (backends, refusing) = (greeters(1), Refusing::new());
    let setup = Setup::new().options("-r -t 1000").command("queue_max 1").command("queue_timeout 1000");
    let pen = setup.server(format!("{}:1", backends[0].address())).start();
    let held = pen.hold(2);
    let mut clients = queue(&pen, 1);
    // While it is given a server that fails, others come.
    let port = refusing.address().port();
    for round in 0..20 {
        pen.control(&format!("server 1 address 127.0.0.1 port {port} max 1 blacklist 0"));
        assert_eq!(pen.client_from(40 + round).line(), "");
        pen.control("no server 1");
    }
    assert!(is_silent(&clients[0]));
    assert_eq!(waiting(&pen), 1);
    drop(held);
    assert_eq!(clients[0].line(), "A");
}
