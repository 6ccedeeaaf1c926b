//! Whether a server is pen itself: it would be its own client, until all its connections are used up.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::core::addr::{Endpoint, Host};
use crate::core::config::Config;
use crate::sys::{read_file, resolve};

/// Whether who connects to `host` and `port` comes to a pen that listens on `listening`. A name is nobody: its addresses are.
pub(super) fn is_own(listening: &Endpoint, host: &Host, port: u16) -> bool {
    match (&listening.host, host) {
        (Host::Unix(own), Host::Unix(path)) => own == path || read_file::is_same(own.as_ref(), path.as_ref()),
        (_, Host::Ip(_)) if port != listening.port => false,
        (Host::Ip(own), Host::Ip(ip)) => reaches(*own, *ip),
        (Host::Name(name), Host::Ip(ip)) => {
            // Pen listens on the first.
            resolve::lookup_now(name).is_ok_and(|found| found.first().is_some_and(|own| reaches(*own, *ip)))
        }
        _ => false,
    }
}

/// Whether who connects to `ip` comes to a socket that is bound to `own`.
fn reaches(own: IpAddr, ip: IpAddr) -> bool {
    // Who connects to no address in particular comes to this machine.
    let ip = match ip.to_canonical() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    let own = own.to_canonical();
    // The socket of [::] takes IPv4, too.
    own == ip || (own.is_unspecified() && (own.is_ipv6() || ip.is_ipv4()) && resolve::is_local(ip))
}

/// The addresses of a name that are not pen itself, if one of its servers has that name and the port that pen listens on;
/// and those that are.
pub(super) fn divide(config: &Config, name: &str, addresses: Vec<IpAddr>) -> (Vec<IpAddr>, Vec<IpAddr>) {
    let Some(listening) = config.listening().filter(|own| config.has_server(name, own.port)) else {
        return (addresses, Vec::new());
    };
    addresses.into_iter().partition(|ip| !is_own(listening, &Host::Ip(*ip), listening.port))
}

/// What there is to say of an address that is left out.
pub(super) fn told(name: &str, ip: IpAddr) -> String {
    format!("{name} has the address {ip}, which is where pen listens: it is left out")
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
