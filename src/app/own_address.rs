//! Detects a server that is pen itself: pen would be its own client, until all its connections are used up.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::core::addr::{Endpoint, Host};
use crate::core::config::Config;
use crate::sys::{read_file, resolve};

/// Whether a connection to `host` and `port` reaches a pen that listens on `listening`. False where one of them is a name:
/// ask again with its addresses.
pub(super) fn is_own(listening: &Endpoint, host: &Host, port: u16) -> bool {
    match (&listening.host, host) {
        (Host::Unix(own), Host::Unix(path)) => own == path || read_file::is_same(own.as_ref(), path.as_ref()),
        (_, Host::Ip(_)) if port != listening.port => false,
        (Host::Ip(own), Host::Ip(ip)) => reaches(*own, *ip),
        _ => false,
    }
}

/// The listening endpoint with an address in place of a name. Waits for the resolver, so it is for a pen that does not serve yet.
pub(super) fn resolved_now(listening: &Endpoint) -> Endpoint {
    let Host::Name(name) = &listening.host else { return listening.clone() };
    // Pen listens on the first. A name without an address is an error elsewhere.
    let address = resolve::lookup_now(name).ok().and_then(|found| found.first().copied());
    Endpoint { host: address.map_or_else(|| listening.host.clone(), Host::Ip), port: listening.port }
}

/// Whether a connection to `ip` reaches a socket that is bound to `own`.
fn reaches(own: IpAddr, ip: IpAddr) -> bool {
    // A connection to the unspecified address reaches this machine.
    let ip = match ip.to_canonical() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    let own = own.to_canonical();
    // A socket on [::] takes IPv4 too.
    own == ip || (own.is_unspecified() && (own.is_ipv6() || ip.is_ipv4()) && resolve::is_local(ip))
}

/// Divides the addresses of a name into those that its servers may have and those that are pen itself. The latter are only
/// looked for if a server has that name and the port of `listening`, which has an address.
pub(super) fn divide(
    config: &Config,
    listening: &Endpoint,
    name: &str,
    addresses: Vec<IpAddr>,
) -> (Vec<IpAddr>, Vec<IpAddr>) {
    if !config.has_server(name, listening.port) {
        return (addresses, Vec::new());
    }
    addresses.into_iter().partition(|ip| !is_own(listening, &Host::Ip(*ip), listening.port))
}

/// The message about an address that is left out.
pub(super) fn notice(name: &str, ip: IpAddr) -> String {
    format!("{name} has pen's own address {ip}, which is not used")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_reached_by_its_address_and_one_of_all_by_each_of_this_machine() {
        for (own, ip, expected) in [
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("127.0.0.1", "0.0.0.0", true),
            ("127.0.0.1", "::ffff:127.0.0.1", true),
            ("0.0.0.0", "127.3.2.1", true),
            ("0.0.0.0", "0.0.0.0", true),
            ("0.0.0.0", "::1", false),
            ("0.0.0.0", "192.0.2.1", false),
            ("::", "::1", true),
            ("::", "127.0.0.1", true),
            ("::", "::", true),
            ("::1", "127.0.0.1", false),
        ] {
            assert_eq!(reaches(own.parse().unwrap(), ip.parse().unwrap()), expected, "{own} {ip}");
        }
    }
}
