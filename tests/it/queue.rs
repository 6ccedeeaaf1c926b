//! The queue: who waits while every server is full, and who is served next.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::backend::{Backend, BlackHole, Refusing, greeters};
use crate::support::client::End;
use crate::support::http::{admin_of, get};
use crate::support::tls::{Pair, TlsClient};
use crate::support::{Client, Pen, Setup, wait_until};

/// How many connections wait.
pub(super) fn waiting(pen: &Pen) -> usize {
    let document: serde_json::Value = serde_json::from_str(&pen.control("json servers")).unwrap();
    document["queue_connections"].as_u64().unwrap() as usize
}

#[track_caller]
pub(super) fn becomes(pen: &Pen, count: usize) {
    wait_until("so many to wait", || waiting(pen) == count);
}

/// Clients that wait, one after the other.
pub(super) fn queue(pen: &Pen, count: usize) -> Vec<Client> {
    let before = waiting(pen);
    let one = |n: usize| {
        let client = pen.client_from(n as u8 + 10);
        becomes(pen, before + n + 1);
        client
    };
    (0..count).map(one).collect()
}

/// A pen with one server that takes one connection.
fn single(backend: &Backend, options: &str) -> Setup {
    Setup::new().options(options).command("queue_max 10").server(format!("{}:1", backend.address()))
}

pub(super) fn is_silent(client: &Client) -> bool {
    client.is_silent_for(Duration::from_millis(20))
}

#[test]
fn clients_are_served_in_order_of_arrival() {
    let backends = greeters(1);
    for workers in [1, 4] {
        let pen = single(&backends[0], "-t 100").command(format!("workers {workers}")).start();
        let mut held = pen.hold(2);
        for mut client in queue(&pen, 6) {
            assert!(is_silent(&client));
            drop(held);
            assert_eq!(client.line(), "A");
            held = (client, "A".into());
        }
        assert_eq!((waiting(&pen), pen.servers()[0].conn), (0, 1));
    }
}

#[test]
fn the_connection_log_has_the_time_of_who_left_while_it_waited() {
    let backends = greeters(1);
    let setup = single(&backends[0], "");
    let log = setup.file("connections");
    let pen = setup.command(format!("connection_log {log}")).start();
    let _held = pen.hold(2);
    drop(queue(&pen, 1));
    becomes(&pen, 0);
    wait_until("the line", || pen.read("connections").contains(" end=client-closed"));
    assert!(pen.read("connections").contains(" queue_seconds=0."), "{}", pen.read("connections"));
}

#[test]
fn the_limit_holds_under_load_in_every_worker() {
    let open = std::sync::Arc::new(std::sync::Mutex::new((0, 0)));
    let counted = std::sync::Arc::clone(&open);
    let backend = Backend::new(move |mut client| {
        let mut count = counted.lock().unwrap();
        count.0 += 1;
        count.1 = count.1.max(count.0);
        drop(count);
        client.send("A\n");
        // Whoever has read the line closes, and pen with it.
        _ = client.rest();
        counted.lock().unwrap().0 -= 1;
    });
    let pen = Setup::new()
        .options("-t 100 -x 1000")
        .command("workers 4")
        .command("queue_max 200")
        .server(format!("{}:3", backend.address()))
        .start();
    std::thread::scope(|scope| {
        for n in 0..16 {
            let pen = &pen;
            scope.spawn(move || (0..20).for_each(|_| assert_eq!(pen.choice(n + 2), "A")));
        }
    });
    pen.becomes_idle();
    assert_eq!((waiting(&pen), pen.servers()[0].conn), (0, 0));
    // The server sees an end a little after pen has counted it out.
    assert!(open.lock().unwrap().1 <= 3 + 3, "{:?}", open.lock().unwrap());
}

#[test]
fn beyond_queue_max_and_queue_timeout_clients_are_closed_or_have_the_emergency_server() {
    let backends = greeters(2);
    let emergency = Backend::greeter("E");
    for with_emergency in [false, true] {
        let mut setup = single(&backends[0], "").command("queue_max 1").command("queue_timeout 0.2");
        if with_emergency {
            setup = setup.option("-e", emergency.address().to_string());
        }
        let last = if with_emergency { "E" } else { "" };
        let pen = setup.start();
        assert_eq!(pen.control("queue_timeout"), "0.2\n");
        assert_eq!(pen.control("queue_timeout 1000"), "1000\n");
        let _held = pen.hold(2);
        let waits = queue(&pen, 1);
        // The queue is full.
        assert_eq!(pen.client_from(3).line(), last);
        pen.says("1 connections wait, as many as queue_max allows");
        drop(waits);
        becomes(&pen, 0);
        pen.control("queue_timeout 0.2");
        let begin = Instant::now();
        assert_eq!(pen.client_from(4).line(), last);
        assert!(begin.elapsed() >= Duration::from_millis(200));
        assert_eq!(waiting(&pen), 0);
    }
}

#[test]
fn without_queue_timeout_the_timeout_of_connects_counts() {
    let backends = greeters(1);
    let setup = single(&backends[0], "-t 1");
    let file = setup.file("connections");
    let pen = setup.command(format!("connection_log {file}")).start();
    let _held = pen.hold(2);
    let begin = Instant::now();
    assert_eq!(pen.client_from(3).line(), "");
    assert!(begin.elapsed() >= Duration::from_secs(1));
    let logged = || std::fs::read_to_string(&file).unwrap_or_default();
    wait_until("the line of the connection log", || logged().contains("queue-timeout"));
}

#[test]
fn who_gives_up_frees_its_place_in_the_queue_at_once() {
    let (authority, backends) = (Pair::root("authority"), greeters(1));
    for portable in ["0", "1", "oneshot"] {
        let pen = single(&backends[0], "-t 1000").environment("PEN_PORTABLE", portable).start();
        let held = pen.hold(2);
        let mut others = queue(&pen, 4);
        others.remove(0).reset();
        becomes(&pen, 3);
        others[0].send("data");
        others.remove(0).reset();
        becomes(&pen, 2);
        // A client that ends without a word has gone; one that has sent something waits for the answer.
        assert_eq!(
            {
                others[0].finish();
                others[0].end()
            },
            End::Clean
        );
        becomes(&pen, 1);
        others[1].send("question");
        others[1].finish();
        assert!(is_silent(&others[1]) && waiting(&pen) == 1);
        drop(held);
        assert_eq!(others[1].line(), "A");
    }
    let setup = single(&backends[0], "-t 1000");
    authority.issue("localhost").write(setup.path(), "pen");
    let options = format!("-E {} -K {}", setup.file("pen.crt"), setup.file("pen.key"));
    let pen = setup.options(options).start();
    let connect = || TlsClient::new(&authority).connect(pen.address);
    let mut held = connect();
    assert_eq!(held.line(), "A");
    let waits = connect();
    becomes(&pen, 1);
    drop(waits);
    becomes(&pen, 0);
}

#[test]
fn nobody_is_forgotten_when_servers_change() {
    let backends = greeters(3);
    let pen = single(&backends[0], "-r -t 1000").start();
    let [a, b, c] = [0, 1, 2].map(|n: usize| backends[n].address());
    let held = pen.hold(2);
    let mut clients = queue(&pen, 4).into_iter();
    let mut next = || clients.next().unwrap();
    // A limit is raised.
    pen.control("server 0 max 2");
    let mut first = next();
    assert_eq!(first.line(), "A");
    // A server comes, and one goes.
    pen.control(&format!("server 1 address {} port {} max 1", b.ip(), b.port()));
    let mut second = next();
    assert_eq!(second.line(), "B");
    pen.control("server 1 state maint");
    pen.control("no server 0");
    // Nothing is left to wait for.
    assert_eq!(next().line(), "");
    assert_eq!(next().line(), "");
    drop((held, first, second));
    pen.becomes_idle();
    // A blacklisted server is worth no wait as long as it is alone, and is waited for beside one that is full.
    pen.control(&format!("server 2 address {} port {} max 1", c.ip(), c.port()));
    pen.control(&format!("server 1 address {} port {} max 1 state ready blacklist 1000", a.ip(), a.port()));
    let _held = pen.hold(2);
    assert_eq!(_held.1, "C");
    pen.control("server 1 blacklist 1");
    let mut waits = pen.client_from(3);
    assert_eq!(waits.line(), "A", "once its time on the blacklist is over");
}

#[test]
fn a_free_place_goes_to_the_first_who_may_have_it() {
    let backends = greeters(2);
    let pen = single(&backends[0], "-r -t 1000")
        .server(format!("{}:1", backends[1].address()))
        .command("acl 1 deny 127.0.0.10")
        .command("server 1 acl 1")
        .start();
    let held = [pen.hold(2), pen.hold(3)];
    let mut clients = queue(&pen, 2);
    let of = |name: &str| held.iter().position(|(_, server)| server == name).unwrap();
    let (at_a, at_b) = (of("A"), of("B"));
    let mut held = held.map(Some);
    drop(held[at_b].take());
    // The first may not have B.
    assert_eq!(clients[1].line(), "B");
    assert!(is_silent(&clients[0]));
    drop(held[at_a].take());
    assert_eq!(clients[0].line(), "A");
}

#[test]
fn a_place_at_a_server_that_fails_is_no_loss_of_the_place_in_the_queue() {
    let (backends, refusing, hole) = (greeters(1), Refusing::new(), BlackHole::new());
    for (address, time) in [(refusing.address(), "-t 1000"), (hole.address(), "-t 1")] {
        let pen = single(&backends[0], time).options("-r").command("queue_timeout 1000").start();
        let held = pen.hold(2);
        let mut clients = queue(&pen, 2);
        pen.control(&format!("server 1 address {} port {} max 1", address.ip(), address.port()));
        pen.says("blacklisting");
        becomes(&pen, 2);
        drop(held);
        assert_eq!(clients[0].line(), "A");
        assert!(is_silent(&clients[1]));
    }
}

#[test]
fn those_who_wait_make_no_room_for_others() {
    let backends = greeters(1);
    let pen = single(&backends[0], "-t 1000 -x 3").start();
    let held = pen.hold(2);
    let mut clients = queue(&pen, 2);
    let mut outside = pen.client_from(5);
    // Silent connections make room after a second; these are silent since pen has them wait.
    assert!(outside.is_silent_for(Duration::from_millis(1500)));
    drop(held);
    assert_eq!(clients.remove(0).line(), "A");
    assert_eq!(clients.remove(0).line(), "A");
    assert_eq!(outside.line(), "A");
}

#[test]
fn the_end_of_pen_finds_those_who_wait() {
    let backends = greeters(1);
    let mut pen = single(&backends[0], "-t 1000").command("stop_timeout 1000").start();
    let held = pen.hold(2);
    let mut clients = queue(&pen, 2);
    // A connection that waits can be closed, and shows that it does.
    let rows = pen.control("json connections");
    assert_eq!(rows.matches(r#""state":"waiting""#).count(), 2, "{rows}");
    assert!(pen.control("connection 2").contains("state = 1"), "{}", pen.control("connection 2"));
    pen.control("close 2");
    assert_eq!(clients.remove(1).end(), End::Clean);
    becomes(&pen, 1);
    // Until the time of stop_timeout is over, places go on to be given.
    pen.signal(Signal::SIGTERM);
    pen.says("may continue for");
    drop(held);
    assert_eq!(clients[0].line(), "A");
    drop(clients);
    pen.wait();
}

#[test]
fn why_tells_of_the_queue() {
    let backends = greeters(1);
    let pen = single(&backends[0], "-t 1000").start();
    let _held = pen.hold(2);
    let _waits = queue(&pen, 2);
    let why = pen.control("why 127.0.0.3");
    assert!(why.ends_with("it would wait in the queue, behind 2 connections (queue_max 10)\n"), "{why}");
    let document: serde_json::Value = serde_json::from_str(&pen.control("json why 127.0.0.3")).unwrap();
    assert_eq!(document["queue"]["ahead"], 2);
    assert!(document["choice"].is_null());
    pen.control("queue_max 2");
    let why = pen.control("why 127.0.0.3");
    assert!(
        why.ends_with("the queue is full: 2 connections wait (queue_max 2)\nit would be closed\n"),
        "{why}"
    );
}

#[test]
fn metrics_tell_of_the_queue() {
    let backends = greeters(1);
    let pen = single(&backends[0], "-t 1000").command("admin %").command("queue_max 2").start();
    let held = pen.hold(2);
    let mut clients = queue(&pen, 2);
    assert_eq!(pen.client_from(5).line(), "");
    let metrics = get(admin_of(&pen), "/metrics").body;
    let has = |line: &str| assert!(metrics.lines().any(|l| l == line), "{line}: {metrics}");
    has("pen_queue_connections 2");
    has("pen_queue_connections_limit 2");
    has("pen_queue_results_total{result=\"full\"} 1");
    clients.remove(1).reset();
    drop(held);
    assert_eq!(clients[0].line(), "A");
    becomes(&pen, 0);
    let metrics = get(admin_of(&pen), "/metrics").body;
    let has = |line: &str| assert!(metrics.lines().any(|l| l == line), "{line}: {metrics}");
    has("pen_queue_results_total{result=\"gone\"} 1");
    has("pen_queue_results_total{result=\"served\"} 1");
    has("pen_queue_duration_seconds_count 1");
}
