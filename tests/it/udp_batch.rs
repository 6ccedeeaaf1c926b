//! UDP in each way that pen has to receive and send: calls made together by io_uring, by the same turn without it, and as on
//! other systems. What many clients do at the same time is where the ways differ.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use crate::support::directory::{directory, give_to_nobody};
use crate::support::udp::{Asker, Refusing, Server};
use crate::support::wait::DEADLINE;
use crate::support::{Pen, Setup, wait_until};

/// Runs a test in each way, with the name of the way.
fn each_way(test: impl Fn(Setup, &str)) {
    let setup = || Setup::new().options("-U");
    test(setup(), "together");
    test(setup().command("no batch"), "one by one");
    test(setup().environment("PEN_PORTABLE", "1"), "portable");
    test(setup().environment("PEN_PORTABLE", "oneshot"), "one shot");
}

/// How many rings of io_uring a process has open.
fn rings(pen: &Pen) -> usize {
    let descriptors = fs::read_dir(format!("/proc/{}/fd", pen.pid())).unwrap();
    let names = descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    names.filter(|name| name.to_string_lossy().contains("io_uring")).count()
}

/// Whether this system has io_uring, and lets this process use it.
fn has_rings() -> bool {
    let pen = Setup::new().options("-U -d").start();
    wait_until("a ring, or word that there is none", || rings(&pen) == 1 || pen.stderr().contains(NO_RING));
    rings(&pen) == 1
}

/// What pen says with -d where it cannot have a ring.
const NO_RING: &str = "calls are made one by one: no io_uring";

/// A program that runs another one without io_uring: a filter of system calls has io_uring_setup(2) fail with EPERM, as those
/// of containers do.
const WITHOUT_RINGS: &str = r#"
my $filter = pack('SCCL' x 4, 0x20, 0, 0, 0, 0x15, 0, 1, 425, 0x06, 0, 0, 0x00050001, 0x06, 0, 0, 0x7fff0000);
my $program = pack('S x6 P', 4, $filter);
syscall(157, 38, 1, 0, 0, 0) == 0 or die "no_new_privs: $!";
syscall(157, 22, 2, $program) == 0 or die "seccomp: $!";
exec @ARGV or die "exec: $!";
"#;

#[test]
fn calls_are_made_together_where_the_system_allows_it_and_nobody_forbids_it() {
    let server = Server::named("A");
    let setup = || Setup::new().options("-U -d").server(server.address);
    let pen = setup().start();
    wait_until("a ring, or word that there is none", || rings(&pen) == 1 || pen.stderr().contains(NO_RING));
    assert_eq!(rings(&pen) == 0, pen.stderr().contains(NO_RING), "{}", pen.stderr());
    let pen = setup().command("no batch").start();
    assert_eq!(rings(&pen), 0);
    assert!(!pen.stderr().contains(NO_RING), "nobody asked for it");
    if cfg!(target_arch = "x86_64") {
        let setup = setup();
        let script = setup.write("without-rings", WITHOUT_RINGS);
        let pen = setup.wrapper(&format!("perl {script}")).start();
        assert_eq!(rings(&pen), 0);
        pen.says(NO_RING);
        assert_eq!(Asker::new(2, pen.address).name(), "A");
    }
}

#[test]
fn each_worker_has_a_ring_of_its_own() {
    // Checks use sockets on the main thread, which needs no ring.
    let checked = ["check c type tcp", "check c every 0.05", "check_default c"];
    let setup =
        || checked.iter().fold(Setup::new().command("workers 3").server("127.0.0.1:9"), |s, c| s.command(c));
    let pen = setup().start();
    let expected = if has_rings() { 3 } else { 0 };
    wait_until("each worker to have its ring", || rings(&pen) == expected);
    for (pen, expected) in [(pen, expected), (setup().command("no batch").start(), 0)] {
        pen.says("is down");
        assert_eq!(rings(&pen), expected);
    }
}

/// After a change of user and of the root directory too.
#[test]
fn calls_are_made_together_by_a_user_in_a_jail() {
    if !crate::support::is_root() {
        return crate::support::skipped("a jail", "needs root");
    }
    let (server, jail) = (Server::named("A"), directory());
    give_to_nobody(jail.path());
    let setup = Setup::new().no_user().options("-u nobody").options("-U").server(server.address);
    let setup = setup.options(format!("-j {}", jail.path().display()));
    let pen = setup.pid_file(&jail.path().join("pid"), "/pid").start();
    assert_eq!(Asker::new(2, pen.address).name(), "A");
    assert!(rings(&pen) == 1 || !has_rings());
}

/// Many clients at once, each with several datagrams under way: every flow has all of its datagrams, in order and whole.
#[test]
fn what_many_clients_send_at_once_arrives_in_order() {
    // No more under way at once than the smallest buffer holds.
    const CLIENTS: u8 = 20;
    const ROUNDS: u8 = 20;
    each_way(|setup, way| {
        let server = Server::echo();
        let pen = setup.server(server.address).start();
        let askers: Vec<Asker> = (0..CLIENTS).map(|_| Asker::new(2, pen.address)).collect();
        let datagram = |client: u8, round: u8, part: u8| {
            [vec![client, round, part], vec![client; usize::from(part) * 100]].concat()
        };
        for round in 0..ROUNDS {
            let parts = 1 + round % 4;
            for part in 0..parts {
                askers.iter().zip(0..).for_each(|(asker, client)| asker.send(&datagram(client, round, part)));
            }
            for (asker, client) in askers.iter().zip(0..) {
                for part in 0..parts {
                    assert!(
                        asker.answer() == datagram(client, round, part),
                        "{way}: {client} {round} {part}"
                    );
                }
            }
        }
    });
}

/// The server dies while many clients have questions under way: all of them are served by the next one.
#[test]
fn many_clients_of_a_dead_server_go_to_the_next_at_once() {
    const CLIENTS: usize = 40;
    each_way(|setup, way| {
        let (dead, server) = (Refusing::new(), Server::named("A"));
        // The one of the lower prio is asked first.
        let setup = setup.server(dead.address()).server(server.address);
        let pen = setup.command("prio").command("server 0 prio 1").command("server 1 prio 2").start();
        let askers: Vec<Asker> = (0..CLIENTS).map(|_| Asker::new(2, pen.address)).collect();
        askers.iter().for_each(|asker| asker.send(b"who?"));
        for asker in &askers {
            assert_eq!(asker.answer(), b"A", "{way}");
        }
        pen.says("blacklisting server 0");
        assert_eq!(pen.stderr().matches("blacklisting server 0").count(), 1, "{way}: {}", pen.stderr());
    });
}

/// Answers that leave together leave from the addresses that were asked.
#[test]
fn answers_at_the_same_time_leave_from_different_addresses() {
    each_way(|setup, way| {
        let server = Server::echo();
        let pen = setup.server(server.address).listen("%").start();
        let addresses: Vec<SocketAddr> = (1..30)
            .map(|n| SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 1, n)), pen.address.port()))
            .collect();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(Some(DEADLINE)).unwrap();
        for (n, to) in (0_u8..).zip(&addresses) {
            client.send_to(&[n], to).unwrap();
        }
        for _ in &addresses {
            let mut answer = [0];
            let (_, from) = client.recv_from(&mut answer).unwrap();
            if way.starts_with("one shot") || way == "portable" {
                assert_eq!(from.ip(), IpAddr::V4(Ipv4Addr::LOCALHOST), "{way}: the route decides");
            } else {
                assert_eq!(from, addresses[usize::from(answer[0])], "{way}");
            }
        }
    });
}

#[test]
fn a_flow_that_is_closed_ends_and_its_client_is_served_anew() {
    each_way(|setup, way| {
        let server = Server::named("A");
        let pen = setup.server(server.address).start();
        let asker = Asker::new(2, pen.address);
        assert_eq!(asker.name(), "A", "{way}");
        assert_eq!(pen.control("close 0"), "Forcibly closing connection 0\n");
        wait_until("the flow to end", || pen.servers()[0].conn == 0);
        assert_eq!(asker.name(), "A", "{way}");
        let peers = server.peers(2);
        assert_ne!(peers[0], peers[1], "{way}");
    });
}
