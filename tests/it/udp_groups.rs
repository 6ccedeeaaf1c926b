//! Clients that ask a broadcast, multicast or alias address: an answer leaves from the address that was asked or, as nothing
//! can come from a group's, from another one of pen's.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use socket2::SockRef;

use crate::support::Setup;
use crate::support::namespace::{inside, run};
use crate::support::udp::Server;
use crate::support::wait::DEADLINE;

#[test]
fn clients_that_ask_a_broadcast_multicast_or_alias_address_are_answered() {
    if !inside("it::udp_groups::clients_that_ask_a_broadcast_multicast_or_alias_address_are_answered") {
        return;
    }
    run("ip link add d0 type veth peer name d1");
    run("ip link set d1 up");
    run("ip address add 10.9.9.1/24 broadcast 10.9.9.255 dev d0");
    run("ip address add 10.9.9.2/24 dev d0");
    run("ip address add 10.9.9.3/24 dev d0");
    run("ip link set d0 up multicast on");
    let server = Server::named("A");
    for portable in ["0", "1"] {
        for listen in ["0.0.0.0:%", "[::]:%"] {
            let setup = Setup::new().environment("PEN_PORTABLE", portable).options("-U").listen(listen);
            let pen = setup.server(server.address).start();
            let ask = |group: Ipv4Addr| {
                let client = UdpSocket::bind("10.9.9.2:0").unwrap();
                client.set_broadcast(true).unwrap();
                SockRef::from(&client).set_multicast_if_v4(&Ipv4Addr::new(10, 9, 9, 2)).unwrap();
                client.set_read_timeout(Some(DEADLINE)).unwrap();
                client.send_to(b"?", SocketAddr::from((group, pen.address.port()))).unwrap();
                let mut answer = [0; 16];
                let (count, from) = client
                    .recv_from(&mut answer)
                    .unwrap_or_else(|error| panic!("{portable} {listen} {group}: {error}"));
                assert_eq!(&answer[..count], b"A");
                from
            };
            for group in [Ipv4Addr::new(10, 9, 9, 255), Ipv4Addr::new(224, 0, 0, 1)] {
                let from = ask(group);
                assert_eq!(from.port(), pen.address.port(), "{listen} {group}");
                let own = ["10.9.9.1", "10.9.9.2", "10.9.9.3"].map(|ip| ip.parse::<IpAddr>().unwrap());
                assert!(own.contains(&from.ip()), "{listen} {group}: {from}");
            }
            for alias in [Ipv4Addr::new(10, 9, 9, 1), Ipv4Addr::new(10, 9, 9, 3)] {
                // Where the system does not tell the destination, the route to the client decides.
                let expected = if portable == "1" { Ipv4Addr::new(10, 9, 9, 1) } else { alias };
                assert_eq!(ask(alias), SocketAddr::from((expected, pen.address.port())), "{listen}");
            }
        }
    }
}
