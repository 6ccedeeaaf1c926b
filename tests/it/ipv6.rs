//! IPv6 on either side: clients are told apart by the whole address.

use crate::support::backend::{Backend, greeters};
use crate::support::namespace::{inside, run};
use crate::support::{Client, Setup};

#[test]
fn ipv6_clients_reach_ipv6_servers() {
    let address: std::net::SocketAddr = "[::1]:0".parse().unwrap();
    let six = Backend::greeter_on(&address.into(), "six");
    let four = greeters(1);
    let pen = Setup::new().options("-r").listen("[::1]:%").servers(&four).server(six.address()).start();
    let ask = || Client::to(format!("[::1]:{}", pen.address.port()).parse().unwrap()).line();
    assert_eq!([ask(), ask(), ask()], ["six", "A", "six"]);
    assert_eq!(pen.servers()[1].address, "::1");
    pen.control(&format!("server 0 address ::1 port {}", six.port()));
    assert_eq!([ask(), ask()], ["six", "six"]);
}

#[test]
fn clients_are_their_whole_address() {
    if !inside("it::ipv6::clients_are_their_whole_address") {
        return;
    }
    // To C pen all of these were one client: it took the first four bytes.
    let clients: Vec<String> =
        (1..20).flat_map(|n| [format!("fd00::{n}"), format!("fd00:0:{n}::1")]).collect();
    for client in &clients {
        run(&format!("ip -6 address add {client}/128 dev lo nodad"));
    }
    let backends = greeters(3);
    let pen = Setup::new().listen(":::%").servers(&backends).start();
    let address = format!("[fd00::1]:{}", pen.address.port()).parse().unwrap();
    let ask = |client: &str| Client::from(client, address).line();
    let first: Vec<String> = clients.iter().map(|c| ask(c)).collect();
    let turns: Vec<&str> = ["B", "C", "A"].into_iter().cycle().take(clients.len()).collect();
    assert_eq!(first, turns);
    let again: Vec<String> = clients.iter().rev().map(|c| ask(c)).collect();
    assert!(again.iter().rev().eq(&first));
    assert_eq!(pen.control("recent").lines().count(), clients.len());
    pen.control("acl 1 deny fd00:0:3::/48");
    pen.control("client_acl 1");
    assert_eq!(ask("fd00:0:3::1"), "");
    assert_ne!(ask("fd00:0:4::1"), "");
    drop(pen);
    let pen = Setup::new().options("-N").listen(":::%").servers(&backends).start();
    let address = format!("[fd00::1]:{}", pen.address.port()).parse().unwrap();
    let names: std::collections::BTreeSet<String> =
        clients.iter().map(|c| Client::from(c, address).line()).collect();
    assert_eq!(names.len(), 3);
}
