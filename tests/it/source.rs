//! Connections to servers that leave from an address that pen is told.

use std::net::Ipv4Addr;

use crate::support::backend::greeters;
use crate::support::namespace::inside;
use crate::support::{Client, Setup};

/// The ports of an address are there for each server: a connection is told from others by both of its ends.
#[test]
fn each_server_has_all_ports_of_the_source_address() {
    if !inside("it::source::each_server_has_all_ports_of_the_source_address") {
        return;
    }
    let servers = greeters(2);
    let pen = Setup::new().listen("0.0.0.0:%").options("-r").command("source 127.0.0.5").servers(&servers);
    let pen = pen.start();
    // Twenty ports in this namespace; clients have them once for each address of pen's.
    std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40019").unwrap();
    let mut clients: Vec<Client> = (0..40)
        .map(|n| Client::to((Ipv4Addr::new(127, 0, 0, 1 + n % 2), pen.address.port()).into()))
        .collect();
    let held: Vec<String> = clients.iter_mut().map(Client::line).collect();
    let served_by = |name: &str| held.iter().filter(|server| *server == name).count();
    assert_eq!((served_by("A"), served_by("B")), (20, 20));
    assert!(!pen.stderr().contains("blacklisting"), "{}", pen.stderr());
}
