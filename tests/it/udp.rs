//! UDP: who serves a client, and that every datagram arrives as it was sent.

use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::support::namespace::inside;
use crate::support::udp::{Asker, Refusing, Server, choices};
use crate::support::wait::DEADLINE;
use crate::support::{Pen, Setup, wait_until};

fn setup<'a>(servers: impl IntoIterator<Item = &'a Server>) -> Setup {
    servers.into_iter().fold(Setup::new().options("-U"), |setup, server| setup.server(server.address))
}

fn named() -> [Server; 2] {
    ["A", "B"].map(Server::named)
}

/// Another address of the same port.
fn at(pen: &Pen, ip: &str) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), pen.address.port())
}

#[test]
fn each_flow_gets_the_next_server_and_keeps_it() {
    let servers = named();
    let pen = setup(&servers).options("-r").start();
    let askers: Vec<Asker> = (0..4).map(|_| Asker::new(1, pen.address)).collect();
    let first: Vec<String> = askers.iter().map(Asker::name).collect();
    assert_eq!(first, ["B", "A", "B", "A"]);
    let again: Vec<String> = askers.iter().map(Asker::name).collect();
    assert_eq!(again, first);
    // Each has a socket of its own to its server, from which all it sends comes.
    for server in &servers {
        let peers = server.peers(4);
        assert_eq!((&peers[..2], peers[0] != peers[1]), (&peers[2..], true), "{peers:?}");
    }
}

#[test]
fn a_client_is_sent_back_to_its_server_whatever_its_port() {
    let servers = named();
    let pen = setup(&servers).start();
    assert_eq!(choices(pen.address, [2, 2, 3, 2, 3, 3]), "B B A B A A");
    pen.control("no roundrobin");
    pen.control("prio");
    pen.control("server 0 prio 1");
    pen.control("server 1 prio 2");
    assert_eq!(choices(pen.address, [2, 4, 5]), "B A A");
}

#[test]
fn the_hash_tells_ports_apart_with_round_robin_only() {
    let servers = named();
    let pen = setup(&servers).options("-h -O nomemory").start();
    let distinct = |pen: &Pen| {
        let names = choices(pen.address, [2; 24]);
        ["A", "B"].iter().filter(|name| names.contains(**name)).count()
    };
    assert_eq!(distinct(&pen), 1);
    let pen = setup(&servers).options("-hr").start();
    // Another port each time: all 24 alike once in four million times.
    assert_eq!(distinct(&pen), 2);
}

#[test]
fn flows_count_as_connections_against_the_limits_of_a_server() {
    let servers = named();
    let pen = setup(&servers[..1]).options("-r").server(format!("{}:1", servers[1].address)).start();
    let askers: Vec<Asker> = (0..4).map(|_| Asker::new(1, pen.address)).collect();
    let names: Vec<String> = askers.iter().map(Asker::name).collect();
    assert_eq!(names, ["B", "A", "A", "A"]);
    assert_eq!(pen.servers().iter().map(|s| s.conn).collect::<Vec<_>>(), [3, 1]);
    // An answer is counted when it has left.
    let sent = || pen.servers().iter().map(|s| (s.sx, s.rx)).collect::<Vec<_>>();
    wait_until("both ways to be counted", || sent() == [(12, 3), (4, 1)]);
    for command in ["server 0 weight 1", "server 1 weight 9 max 0", "weight"] {
        assert_eq!(pen.control(command), "");
    }
    assert_eq!(choices(pen.address, [2, 3]), "B B");
}

#[test]
fn what_a_dead_server_does_not_take_goes_to_the_next() {
    let (dead, [a, b]) = (Refusing::new(), named());
    let pen = setup([&a]).options("-r").server(dead.address()).server(b.address).start();
    // The very first datagram is served, though it met nobody at first.
    assert_eq!(choices(pen.address, [2, 2, 2, 2]), "B A B A");
    pen.says(&format!("blacklisting server 1 ({}) for 30 s: Connection refused", dead.address()));
    assert_eq!(pen.stderr().matches("blacklisting").count(), 1);
    assert_eq!(pen.servers().iter().map(|s| s.conn).collect::<Vec<_>>(), [2, 0, 2]);
    assert_eq!(b.received().len() + a.received().len(), 4);
    // What was sent is counted after that.
    wait_until("every byte to be counted", || pen.control("recent").contains("connects 4 sx 4 rx 16"));
}

#[test]
fn the_addresses_of_a_server_are_tried_one_after_the_other() {
    if !inside("it::udp::the_addresses_of_a_server_are_tried_one_after_the_other") {
        return;
    }
    // Each answers on one of the two addresses of a name; one of them is not the first.
    for ip in ["127.0.0.41", "127.0.0.42"] {
        let server = Server::named_on(SocketAddr::new(ip.parse().unwrap(), 5353), "A");
        let other = Server::named("B");
        let setup = setup([&other]).server("both:5353");
        let hosts = setup.write("hosts", "127.0.0.41 both\n127.0.0.42 both\n");
        let script = setup.write("wrapper", format!("mount --bind {hosts} /etc/hosts\nexec \"$@\"\n"));
        let pen = setup.wrapper(&format!("unshare -m sh {script}")).start();
        assert_eq!(choices(pen.address, [2, 2]), "A A", "{}", server.address);
        assert!(!pen.stderr().contains("blacklisting"), "{}", pen.stderr());
    }
}

#[test]
fn a_server_that_dies_is_replaced_and_comes_back_after_its_time() {
    let [a, b] = named();
    let pen = setup([&a, &b]).options("-b 1").start();
    let asker = Asker::new(2, pen.address);
    assert_eq!(asker.name(), "B");
    let address = b.stop();
    // What the dead server did not answer is with the next one, in the same flow.
    assert_eq!(asker.name(), "A");
    assert_eq!(asker.name(), "A");
    assert_eq!(choices(pen.address, [2, 2]), "A A");
    let _again = Server::named_on(address, "again");
    pen.control("roundrobin");
    wait_until("the server to be used again", || Asker::new(2, pen.address).name() == "again");
}

#[test]
fn servers_that_restart_in_turn_leave_nobody_unserved() {
    let [a, b] = named();
    let pen = setup([&a, &b]).options("-r").start();
    let talks = Asker::new(2, pen.address);
    assert_eq!(talks.name(), "B");
    let address = b.stop();
    assert_eq!(talks.name(), "A");
    let b = Server::named_on(address, "B");
    let address = a.stop();
    // B is on the blacklist, and nobody else is left.
    assert_eq!(talks.name(), "B");
    pen.says(&format!("server 1 ({}) works again", b.address));
    assert_eq!(choices(pen.address, [3, 4]), "B B");
    // With both away datagrams are lost, and the first that is back serves.
    drop(b);
    let lost = Asker::new(5, pen.address);
    lost.send(b"who?");
    wait_until("the failure", || pen.stderr().matches("blacklisting server 1").count() == 2);
    let _a = Server::named_on(address, "A");
    assert_eq!(lost.persist(), "A");
    assert_eq!(talks.persist(), "A");
}

#[test]
fn an_answer_to_an_older_flow_takes_a_server_back_in() {
    let a = Server::named("A");
    let address = a.address;
    let pen = setup([&a]).start();
    let older = Asker::new(2, pen.address);
    assert_eq!(older.name(), "A");
    drop(a);
    let newer = Asker::new(3, pen.address);
    newer.send(b"who?");
    pen.says("blacklisting server 0");
    let _a = Server::named_on(address, "A");
    assert_eq!(older.persist(), "A");
    pen.says("works again");
    assert_eq!(choices(pen.address, [3]), "A");
}

#[test]
fn with_nobody_left_the_emergency_server_serves_and_a_stubborn_pen_does_not() {
    let (dead, emergency) = (Refusing::new(), Server::named("E"));
    let pen = setup([]).server(dead.address()).options(format!("-e {}", emergency.address)).start();
    assert_eq!(choices(pen.address, [2, 2]), "E E");
    pen.control("server 0 blacklist 0");
    pen.control("stubborn");
    let asker = Asker::new(2, pen.address);
    asker.send(b"who?");
    wait_until("the flow to end", || pen.stderr().matches("blacklisting").count() == 2);
    wait_until("no flow", || pen.servers()[0].conn == 0);
    assert!(asker.has_nothing());
    pen.control("no stubborn");
    assert_eq!(asker.persist(), "E");
}

#[test]
fn a_reply_leaves_from_the_address_that_was_asked() {
    let servers = named();
    let pen = setup(&servers).listen("%").environment("PEN_PORTABLE", "0").start();
    // A connected socket takes nothing from elsewhere.
    for ip in ["127.0.0.1", "127.0.0.2", "127.9.8.7"] {
        assert_eq!(Asker::new(1, at(&pen, ip)).name(), "B", "{ip}");
    }
    // One client, two addresses of pen: each answers what it was asked.
    let both = UdpSocket::bind("127.0.0.1:0").unwrap();
    both.set_read_timeout(Some(DEADLINE)).unwrap();
    for ip in ["127.0.0.5", "127.0.0.6", "127.0.0.5"] {
        both.send_to(b"who?", at(&pen, ip)).unwrap();
        assert_eq!(both.recv_from(&mut [0; 9]).unwrap(), (1, at(&pen, ip)));
    }
}

#[test]
fn without_the_systems_help_the_route_says_where_a_reply_leaves_from() {
    let servers = named();
    let pen = setup(&servers).listen("%").environment("PEN_PORTABLE", "1").start();
    assert_eq!(Asker::new(1, at(&pen, "127.0.0.1")).name(), "B");
    let anywhere = UdpSocket::bind("127.0.0.1:0").unwrap();
    anywhere.set_read_timeout(Some(DEADLINE)).unwrap();
    anywhere.send_to(b"who?", at(&pen, "127.0.0.5")).unwrap();
    assert_eq!(anywhere.recv_from(&mut [0; 9]).unwrap(), (1, at(&pen, "127.0.0.1")));
}

#[test]
fn both_families_are_served_on_one_socket() {
    let six = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
    if UdpSocket::bind(six).is_err() {
        return crate::support::skipped("udp over IPv6", "no IPv6");
    }
    let servers = [Server::named("A"), Server::named_on(six, "B")];
    let pen = setup(&servers).listen("[::]:%").environment("PEN_PORTABLE", "0").start();
    assert_eq!(Asker::from(Ipv6Addr::LOCALHOST, at(&pen, "::1")).name(), "B");
    assert_eq!(Asker::new(1, at(&pen, "127.0.0.7")).name(), "A");
    assert_eq!(
        Asker::new(1, at(&pen, "127.0.0.8")).name(),
        "A",
        "an IPv4 client, whatever socket it came by"
    );
    let recent = pen.control("recent");
    assert!(recent.contains("127.0.0.1 connects 2") && recent.contains("::1 connects 1"), "{recent}");
    let pen = setup(&servers).listen("[::1]:%").start();
    assert_eq!(Asker::from(Ipv6Addr::LOCALHOST, at(&pen, "::1")).name(), "B");
}

#[test]
fn datagrams_of_every_size_pass_whole() {
    let server = Server::echo();
    for portable in ["0", "1"] {
        for listen in ["127.0.0.1:%", "%"] {
            let pen = setup([&server]).listen(listen).environment("PEN_PORTABLE", portable).start();
            let asker = Asker::new(1, pen.address);
            for size in [0, 1, 512, 1472, 1473, 4096, 4097, 9000, 65_507, 0] {
                let datagram: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
                assert!(asker.ask(&datagram) == datagram, "{size} bytes");
            }
        }
    }
}

#[test]
fn the_datagrams_of_a_flow_keep_their_order() {
    let server = Server::echo();
    let pen = setup([&server]).start();
    let to = pen.address;
    let clients = (0..4_u8).map(|n| {
        std::thread::spawn(move || {
            let asker = Asker::new(1, to);
            for batch in 0..40_u32 {
                // No more at once than the smallest buffer on the way holds.
                let numbers: Vec<u32> = (0..20).map(|i| batch * 20 + i).collect();
                let datagram = |i: u32| [vec![n; i as usize % 300], i.to_be_bytes().to_vec()].concat();
                numbers.iter().for_each(|i| asker.send(&datagram(*i)));
                numbers.iter().for_each(|i| assert!(asker.answer() == datagram(*i), "datagram {i} of {n}"));
            }
        })
    });
    clients.collect::<Vec<_>>().into_iter().for_each(|client| client.join().unwrap());
    assert_eq!(server.received().len(), 3200);
}

#[test]
fn a_client_that_takes_nothing_holds_nobody_up() {
    let (flood, other) = (Server::flood(), Server::named("A"));
    let pen = setup([&flood, &other]).start();
    pen.control("prio");
    pen.control("server 0 prio 1");
    pen.control("server 1 prio 2 max 0");
    let greedy = Asker::new(2, pen.address);
    greedy.send(b"more");
    flood.peers(1);
    pen.control("server 0 prio 3");
    let polite = Asker::new(3, pen.address);
    for _ in 0..50 {
        greedy.send(b"more");
        assert_eq!(polite.name(), "A");
    }
}

#[test]
fn an_abusive_client_is_dropped_or_sent_to_the_abuse_server() {
    let ([a, b], abuse) = (named(), Server::named("abuse"));
    let pen = setup([&a, &b]).command("acl 1 deny 127.0.0.9").command("client_acl 1").start();
    let denied = Asker::new(9, pen.address);
    denied.send(b"who?");
    assert_eq!(choices(pen.address, [2]), "B");
    assert!(denied.has_nothing());
    assert_eq!(pen.control("connection 1").lines().nth(1), Some("state = 0"));
    pen.control(&format!("abuse {}", abuse.address));
    assert_eq!(denied.name(), "abuse");
    let recent = pen.control("recent");
    assert!(recent.contains("127.0.0.2 connects 1") && !recent.contains("127.0.0.9"), "{recent}");
    pen.control("server 0 acl 2");
    pen.control("acl 2 deny 127.0.0.3");
    assert_eq!(choices(pen.address, [3, 3]), "B B");
}

#[test]
fn servers_are_reached_from_the_source_address() {
    let server = Server::named("A");
    let pen = setup([&server]).command("source 127.0.0.77").start();
    assert_eq!(choices(pen.address, [2]), "A");
    assert_eq!(server.peers(1)[0].ip().to_string(), "127.0.0.77");
}

#[test]
fn a_flow_that_is_idle_is_dropped_and_its_client_served_anew() {
    let server = Server::named("A");
    let pen = setup([&server]).start();
    let asker = Asker::new(2, pen.address);
    assert_eq!(asker.name(), "A");
    assert_eq!(pen.servers()[0].conn, 1);
    assert_eq!(pen.control("idle_timeout 1"), "Idle timeout: 1 seconds\n");
    pen.becomes_idle();
    assert!(pen.control("connection 0").contains("state = 0"));
    pen.control("idle_timeout 2");
    assert_eq!(asker.name(), "A");
    let peers = server.peers(2);
    assert_ne!(peers[0], peers[1]);
    // One that talks stays.
    wait_until("two and a half seconds of talk", || {
        let (first, begin) = (server.received().len(), Instant::now());
        let (mut last, mut longest) = (begin, Duration::ZERO);
        while begin.elapsed() < Duration::from_millis(2500) {
            let now = Instant::now();
            assert_eq!(asker.name(), "A");
            longest = longest.max(last.elapsed());
            last = now;
        }
        let peers = server.peers(first + 2);
        let stays = peers[first..].iter().all(|peer| *peer == peers[first]);
        // Unless the machine has halted for that long.
        assert!(stays || longest >= Duration::from_secs(2), "it was idle for {longest:?} only");
        stays
    });
}

/// Whoever repeats what has no answer gets another server; others are not sent away, since the server may have its reasons.
#[test]
fn a_client_that_repeats_itself_in_vain_goes_to_the_next_server() {
    let (server, mute) = (Server::named("A"), Server::mute());
    let pen = Setup::new().options("-U -r").server(server.address).server(mute.address).start();
    let asker = Asker::new(2, pen.address);
    // The first and two repetitions; the third goes elsewhere.
    for count in 1..=3 {
        asker.send(b"same");
        assert_eq!(mute.peers(count).len(), count);
    }
    assert!(asker.has_nothing());
    assert_eq!(asker.ask(b"same"), b"A");
    assert_eq!(mute.received().len(), 3);
    assert!(!pen.stderr().contains("blacklisting"), "{}", pen.stderr());
    // Another client of round robin still gets it. What differs each time is no repetition.
    let talker = Asker::new(3, pen.address);
    for count in 4..=9 {
        talker.send(&[count]);
        assert_eq!(mute.peers(usize::from(count)).len(), usize::from(count));
    }
    assert_eq!(pen.control("udp_retries 0"), "0\n");
    for count in 10..=15 {
        talker.send(b"same");
        assert_eq!(mute.peers(count).len(), count);
    }
}

/// With nobody else to go to a client stays where it is.
#[test]
fn a_single_server_that_is_silent_keeps_its_clients() {
    let mute = Server::mute();
    let pen = Setup::new().options("-U").command("udp_retries 1").server(mute.address).start();
    let asker = Asker::new(2, pen.address);
    for count in 1..=6 {
        asker.send(b"same");
        assert_eq!(mute.peers(count).len(), count);
    }
    let peers = mute.peers(6);
    assert!(peers.iter().all(|peer| *peer == peers[0]), "{peers:?}");
    assert!(!pen.stderr().contains("no server"), "{}", pen.stderr());
}
