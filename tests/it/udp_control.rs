//! UDP: limits, commands, moves, reloads and the end.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::port::reserve_datagrams;
use crate::support::tracer::Tracer;
use crate::support::udp::{Asker, Server, choices};
use crate::support::wait::DEADLINE;
use crate::support::{Backend, Setup, process, skipped, wait_until};

fn setup<'a>(servers: impl IntoIterator<Item = &'a Server>) -> Setup {
    servers.into_iter().fold(Setup::new().options("-U"), |setup, server| setup.server(server.address))
}

#[test]
fn beyond_the_limit_new_clients_are_dropped_and_told_of_once() {
    let server = Server::mute();
    let pen = setup([&server]).options("-x 2 -t 100").start();
    let askers: Vec<Asker> = (0..5).map(|_| Asker::new(2, pen.address)).collect();
    for _ in 0..3 {
        askers.iter().for_each(|asker| asker.send(b"hello"));
    }
    pen.says("dropping datagrams of new clients: there are 2 flows");
    // The queue is one: what came before this has been looked at when it arrives.
    askers[0].send(b"hello");
    let peers = server.peers(7);
    assert_eq!(peers.iter().collect::<std::collections::BTreeSet<_>>().len(), 2);
    assert_eq!(pen.servers()[0].conn, 2);
    pen.signal(Signal::SIGUSR1);
    pen.says("Datagrams dropped: 9");
    assert_eq!(pen.control("close 0"), "Forcibly closing connection 0\n");
    wait_until("room for another", || {
        askers[4].send(b"hello");
        server.received().iter().any(|(peer, _)| !peers.contains(peer))
    });
    pen.says("serving new clients again");
    assert_eq!(pen.stderr().matches("dropping datagrams").count(), 1, "{}", pen.stderr());
}

#[test]
fn questions_that_have_their_answers_make_room_and_conversations_stay() {
    let server = Server::named("A");
    let pen = setup([&server]).options("-x 3").start();
    let talker = Asker::new(2, pen.address);
    assert_eq!([talker.name(), talker.name()], ["A", "A"]);
    for _ in 0..100 {
        assert_eq!(choices(pen.address, [3]), "A");
        assert!(pen.servers()[0].conn <= 3);
    }
    assert_eq!(talker.name(), "A");
    let peers = server.peers(103);
    assert_eq!((peers[0], peers[1]), (peers[1], peers[102]));
    assert!(!pen.stderr().contains("dropping"), "{}", pen.stderr());
}

#[test]
fn without_descriptors_it_drops_says_so_once_and_resumes() {
    let server = Server::mute();
    let pen = setup([&server]).start();
    Asker::new(2, pen.address).send(b"hello");
    server.peers(1);
    pen.has_no_control_connections();
    let free = process::first_free_descriptor(pen.pid());
    let limit = |descriptors: usize| {
        let (pid, soft) = (pen.pid().to_string(), format!("--nofile={descriptors}:"));
        Command::new("prlimit").args(["--pid", &pid, &soft]).status().is_ok_and(|s| s.success())
    };
    if !limit(free) {
        return skipped("descriptors of UDP", "no prlimit");
    }
    let asker = Asker::new(3, pen.address);
    process::uses_at_most(pen.pid(), Duration::from_millis(100), || {
        (0..50).for_each(|_| asker.send(b"hello"));
        pen.says("dropping datagrams of new clients: Too many open files");
        assert!(asker.is_silent_for(Duration::from_millis(500)), "nobody answers");
    });
    assert_eq!(pen.stderr().matches("dropping datagrams").count(), 1, "{}", pen.stderr());
    assert!(limit(1000));
    asker.send(b"hello");
    server.peers(2);
    pen.says("serving new clients again");
}

#[test]
fn flows_are_shown_and_closed_as_connections_are() {
    let server = Server::named("A");
    let setup = setup([&server]);
    let page = setup.file("page");
    let pen = setup.options(format!("-w {page}")).start();
    let asker = Asker::new(2, pen.address);
    assert_eq!(asker.name(), "A");
    let shown = pen.control("connection 0");
    assert!(shown.contains("state = 2\n") && shown.contains("client = 0, server = 0\n"), "{shown}");
    let upfd: i32 = shown.split("upfd = ").nth(1).unwrap().lines().next().unwrap().parse().unwrap();
    assert_eq!(pen.control(&format!("socket {upfd}")), format!("Socket {upfd} belongs to connection 0\n"));
    assert!(pen.control("status").contains("<p>Datagrams dropped: 0</p>"));
    // A client may have its answer before pen has counted it.
    let counted =
        |counts: &str| wait_until(counts, || pen.control("recent") == format!("127.0.0.2 {counts}\n"));
    counted("connects 1 sx 1 rx 4");
    assert_eq!(pen.control("close 0"), "Forcibly closing connection 0\n");
    pen.becomes_idle();
    counted("connects 1 sx 1 rx 4");
    assert_eq!(asker.name(), "A");
    let peers = server.peers(2);
    assert_ne!(peers[0], peers[1], "another flow");
    counted("connects 2 sx 2 rx 8");
}

#[test]
fn the_log_has_a_line_a_datagram_of_a_client() {
    let server = Server::named("A");
    let setup = setup([&server]);
    let log = setup.file("log");
    let mut pen = setup.options(format!("-l {log}")).start();
    let asker = Asker::new(2, pen.address);
    asker.ask(b"first\nsecond");
    asker.ask(b"\x00\xff third");
    pen.terminate();
    let text = pen.read("log");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].starts_with("127.0.0.2 ") && lines[0].ends_with(" 127.0.0.1 first"), "{text}");
    assert!(lines[1].ends_with(" 127.0.0.1 .. third"), "{text}");
}

#[test]
fn a_dump_shows_both_sides() {
    let server = Server::named("answer");
    let pen = setup([&server]).options("-dd -a").start();
    Asker::new(2, pen.address).ask(b"question");
    for text in ["8 bytes of the client", " question", "6 bytes of the server", " answer"] {
        pen.says(text);
    }
}

#[test]
fn a_move_takes_new_clients_along_and_leaves_flows_where_they_are() {
    let server = Server::named("A");
    let pen = setup([&server]).start();
    let (old, stays) = (pen.address, Asker::new(2, pen.address));
    assert_eq!(stays.name(), "A");
    let new = SocketAddr::new(old.ip(), reserve_datagrams(old.ip()));
    assert_eq!(pen.control(&format!("listen {new}")), format!("{new}\n"));
    assert_eq!(choices(new, [3]), "A");
    assert_eq!(stays.name(), "A", "its flow is where it was");
    let late = Asker::new(4, old);
    late.send(b"who?");
    assert_eq!(stays.name(), "A");
    assert!(late.has_nothing(), "the old address takes nobody new");
    // Back, while the old socket has a flow, and forth.
    assert_eq!(pen.control(&format!("listen {old}")), format!("{old}\n"));
    assert_eq!(late.persist(), "A");
    assert_eq!(stays.name(), "A");
    assert_eq!(server.peers(3)[0], server.received().last().unwrap().0, "still the same flow");
    assert_eq!(pen.control(&format!("listen {new}")), format!("{new}\n"));
    assert_eq!(choices(new, [5]), "A");
    // With its last flow the old address is free.
    (0..10).for_each(|n| _ = pen.control(&format!("close {n}")));
    wait_until("the old address to be free", || std::net::UdpSocket::bind(old).is_ok());
    assert_eq!(choices(new, [6]), "A");
}

#[test]
fn an_address_that_is_taken_keeps_pen_where_it_is() {
    let server = Server::named("A");
    let pen = setup([&server]).start();
    let reply = pen.control(&format!("listen {}", server.address));
    assert!(reply.contains("in use") && reply.contains("/udp"), "{reply}");
    assert_eq!(choices(pen.address, [2]), "A");
}

#[test]
fn a_second_pen_for_the_port_is_refused_and_one_for_tcp_is_not() {
    let server = Server::named("A");
    let pen = setup([&server]).start();
    for listen in [pen.address.to_string(), pen.address.port().to_string()] {
        let second = setup([&server]).listen(&listen).fixed_port().try_start().unwrap_err();
        assert_eq!(second.status.code(), Some(1));
        assert!(second.stderr.contains("in use"), "{second:?}");
    }
    let greeter = Backend::greeter("tcp");
    let tcp = Setup::new().listen(pen.address).server(greeter.address()).start();
    assert_eq!(crate::support::Client::to(pen.address).line(), "tcp");
    assert_eq!(choices(pen.address, [2]), "A");
    drop(tcp);
}

/// Flows of 127.0.0.`n` that have become conversations: a datagram, its answer, another one.
fn converse(pen: &crate::support::Pen, n: u8, count: usize) -> Vec<Asker> {
    let askers: Vec<Asker> = (0..count).map(|_| Asker::new(n, pen.address)).collect();
    for asker in &askers {
        assert_eq!([asker.name(), asker.name()], ["A", "A"]);
    }
    askers
}

#[test]
fn one_host_that_takes_every_flow_locks_nobody_out() {
    let server = Server::named("A");
    let pen = setup([&server]).options("-x 30 -t 100").start();
    let hog = converse(&pen, 2, 30);
    let others: Vec<Asker> = (3..=12).flat_map(|n| converse(&pen, n, 2)).collect();
    others.iter().for_each(|other| assert_eq!(other.name(), "A"));
    // It comes back for all of its flows, and gets no more than what the others leave.
    hog.iter().for_each(|asker| asker.send(b"more"));
    others.iter().for_each(|other| assert_eq!(other.name(), "A"));
    assert_eq!(pen.servers()[0].conn, 30);
}

#[test]
fn a_conversation_that_has_paused_makes_room() {
    let server = Server::named("A");
    let pen = setup([&server]).options("-x 2 -t 1").start();
    let _paused = converse(&pen, 2, 2);
    assert_eq!(Asker::new(2, pen.address).persist(), "A");
    assert_eq!(Asker::new(3, pen.address).persist(), "A");
}

#[test]
fn an_address_has_no_more_flows_than_it_may() {
    let server = Server::named("A");
    let pen = setup([&server]).options("-t 100").command("udp_flows_per_client 2").start();
    assert_eq!(pen.control("udp_flows_per_client"), "2\n");
    let _two = converse(&pen, 2, 2);
    let third = Asker::new(2, pen.address);
    third.send(b"who?");
    // The queue is one: what came before this has been looked at when the answer is there.
    let questions = [(), (), ()].map(|()| Asker::new(3, pen.address));
    questions.iter().for_each(|asker| assert_eq!(asker.name(), "A", "an answered question makes room"));
    assert!(third.has_nothing());
    pen.control("udp_flows_per_client 0");
    assert_eq!(third.name(), "A");
}

#[test]
fn a_flow_that_never_pauses_moves_when_its_server_is_left_out_moved_or_removed() {
    let [a, b, c] = ["A", "B", "C"].map(Server::named);
    let pen = setup([&a, &b]).options("-r").start();
    let talks = Asker::new(2, pen.address);
    assert_eq!(talks.name(), "B");
    pen.control("server 1 blacklist 100");
    assert_eq!(talks.name(), "A");
    // It is back, and nobody has a reason to leave where he is.
    pen.control("server 1 blacklist 0");
    pen.control("server 0 max 7");
    assert_eq!(talks.name(), "A");
    pen.control(&format!("server 0 address 127.0.0.1 port {}", c.address.port()));
    pen.control("server 1 port 0");
    assert_eq!(talks.name(), "C");
    assert_eq!(pen.servers().iter().map(|s| s.conn).collect::<Vec<_>>(), [1, 0]);
    pen.control(&format!("server 1 port {}", b.address.port()));
    pen.control("server 0 port 0");
    assert_eq!(talks.name(), "B");
    pen.control(&format!("server 0 port {}", c.address.port()));
    pen.control("no server 1");
    assert_eq!(talks.name(), "C");
    wait_until("it to be gone", || pen.servers().iter().map(|s| s.number).eq([0]));
    pen.control(&format!("server 1 address 127.0.0.1 port {}", b.address.port()));
    pen.control("no server 0");
    assert_eq!(talks.name(), "B");
    wait_until("it to be gone", || pen.servers().iter().map(|s| s.number).eq([1]));
    assert!(!pen.stderr().contains("blacklisting"), "{}", pen.stderr());
    // With nobody left the flow ends, and begins anew when there is somebody.
    pen.control("server 1 blacklist 100");
    talks.send(b"who?");
    pen.becomes_idle();
    pen.control("server 1 blacklist 0");
    assert_eq!(talks.persist(), "B");
}

/// What pen says when more comes than it can pass on.
const LATE: &str = "dropping those that waited 20 ms";

#[test]
fn in_a_flood_what_has_waited_for_long_is_dropped_and_the_rest_is_in_time() {
    let server = Server::named("A");
    let pen = setup([&server]).environment("PEN_PORTABLE", "0").start();
    // Under a tracer pen is so slow that any machine can flood it.
    let Some(tracer) = Tracer::of(&pen, &[]) else { return skipped("a flood", "no strace") };
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for n in [2, 3] {
            let (asker, stop) = (Asker::new(n, pen.address), &stop);
            scope.spawn(move || {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    _ = asker.0.send(&[7; 64]);
                }
            });
        }
        // Not asserted within: the others would never end.
        let begin = std::time::Instant::now();
        while begin.elapsed() < DEADLINE && !pen.stderr().contains(LATE) {
            std::thread::yield_now();
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    drop(tracer);
    pen.says(LATE);
    wait_until("the flood to be over", || {
        Asker::new(4, pen.address).persist();
        pen.stderr().contains("passed on in time again")
    });
    assert_eq!(pen.stderr().matches(LATE).count(), 1, "{}", pen.stderr());
}

#[test]
fn what_write_saves_serves_again_and_a_reload_changes_it() {
    let [a, b] = ["A", "B"].map(Server::named);
    let setup_a = setup([&a]);
    let file = setup_a.file("saved");
    let mut pen = setup_a.options("-X").start();
    let address = pen.address;
    assert_eq!(pen.control(&format!("write {file}")), "");
    assert!(pen.read("saved").lines().any(|line| line == "udp"), "{}", pen.read("saved"));
    assert_eq!(choices(address, [2]), "A");
    assert_eq!(pen.control("exit"), "");
    assert!(pen.wait().unwrap().success());
    let saved: Vec<String> = pen
        .read("saved")
        .lines()
        .filter(|line| {
            !["control", "pidfile", "foreground", "user"].iter().any(|word| line.starts_with(word))
        })
        .map(str::to_owned)
        .collect();
    let saved = saved.join("\n") + "\n";
    let second = Setup::new();
    let file = second.write("pen.conf", &saved);
    let second = second.options(format!("-F {file}")).fixed_port().start();
    let asker = Asker::new(2, address);
    assert_eq!(asker.name(), "A");
    // Clients go by what the file says now; who has a flow leaves the server that has moved.
    let changed = saved.replace(&a.address.port().to_string(), &b.address.port().to_string());
    second.write("pen.conf", &changed);
    second.signal(Signal::SIGHUP);
    second.says("read again");
    assert_eq!(choices(address, [3]), "B");
    assert_eq!(asker.name(), "B");
    second.write("pen.conf", changed.replace("\nudp\n", "\nno udp\n"));
    second.signal(Signal::SIGHUP);
    second.says("restart");
    assert_eq!(choices(address, [5]), "B");
    second.write("pen.conf", format!("{changed}http\n"));
    second.signal(Signal::SIGHUP);
    second.says("-U (udp) excludes -H (http)");
    assert_eq!(choices(address, [4]), "B");
}

#[test]
fn it_serves_in_the_background_as_another_user() {
    if !crate::support::is_root() {
        return skipped("UDP as another user", "needs root");
    }
    let server = Server::named("A");
    let setup = setup([&server]);
    crate::support::directory::give_to_nobody(setup.path());
    let mut pen = setup.options("-u nobody").daemon().start();
    assert_eq!(choices(pen.address, [2]), "A");
    pen.terminate();
    assert!(!std::path::Path::new(&pen.file("pid")).exists());
}
