//! UDP: what the network and the system drop is noticed.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};

use nix::sys::signal::Signal;

use crate::support::namespace::{inside, run};
use crate::support::udp::{Asker, Server};
use crate::support::wait::wait_for;
use crate::support::{Pen, Setup};

/// A server's machine that is off: nobody answers for its address, so the system finds that the host is unreachable.
#[test]
fn a_server_whose_host_is_unreachable_is_left_for_the_next() {
    if !inside("it::udp_losses::a_server_whose_host_is_unreachable_is_left_for_the_next") {
        return;
    }
    run("ip link add d0 type veth peer name d1");
    run("ip link set d0 up");
    run("ip link set d1 up");
    run("ip address add 10.7.0.1/24 dev d0");
    run("ip -6 address add fd07::1/64 dev d0 nodad");
    for family in ["ipv4", "ipv6"] {
        // Asks once and soon instead of three times in three seconds.
        let neighbours = format!("/proc/sys/net/{family}/neigh/d0");
        fs::write(format!("{neighbours}/mcast_solicit"), "1").unwrap();
        fs::write(format!("{neighbours}/retrans_time_ms"), "100").unwrap();
    }
    let server = Server::named("A");
    for off in ["10.7.0.2:53", "[fd07::2]:53"] {
        let setup = Setup::new().options("-U -r").server(server.address).server(off);
        let pen = setup.start();
        // Each sends one datagram; the first of them is for the server that is off.
        for client in [2, 3] {
            let asker = Asker::new(client, pen.address);
            assert_eq!(asker.name(), "A", "{off}");
        }
        pen.says("blacklisting server 1");
    }
}

fn dropped(pen: &Pen) -> u64 {
    let page = pen.control("status");
    let count = page.split("<p>Datagrams dropped: ").nth(1).and_then(|rest| rest.split('<').next());
    count.unwrap().parse().unwrap()
}

/// What comes while pen is busy elsewhere and the receive buffer is full.
#[test]
fn datagrams_that_the_system_drops_are_counted() {
    const SENT: u64 = 40_000;
    let server = Server::mute();
    let setup = Setup::new().options("-U").server(server.address);
    let page = setup.file("page");
    let pen = setup.options(format!("-w {page}")).start();
    let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let send = || _ = client.send_to(b"?", pen.address).unwrap();
    send();
    server.peers(1);
    assert_eq!(dropped(&pen), 0);
    pen.signal(Signal::SIGSTOP);
    (0..SENT).for_each(|_| send());
    pen.signal(Signal::SIGCONT);
    // The buffer holds at most 4 MiB, and the system counts more than 700 bytes for each datagram.
    let counted =
        wait_for("drops that are counted", || Some(dropped(&pen)).filter(|count| *count > SENT / 2));
    assert!(counted < SENT, "{counted}");
    pen.says("the receive buffer is full, the system drops datagrams");
}
