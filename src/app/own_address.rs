//! Detects a server that is pen itself: pen would be its own client, until all its connections are used up.

use std::cell::OnceCell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::core::addr::{Endpoint, Host, takes};
use crate::core::config::Config;
use crate::sys::{read_file, resolve};

use super::dns::FoundName;

/// Whether a connection to `host` and `port` reaches a pen that listens on `listening`. If that is a name, `bound` gives its
/// address. False for a host that is a name: ask again with its addresses.
pub(super) fn is_own(
    listening: &Endpoint,
    bound: impl Fn(&str) -> Option<IpAddr>,
    host: &Host,
    port: u16,
) -> bool {
    match (&listening.host, host) {
        (Host::Unix(own), Host::Unix(path)) => read_file::is_same_place(own.as_ref(), path.as_ref()),
        (_, Host::Ip(_)) if port != listening.port => false,
        (Host::Ip(own), Host::Ip(ip)) => reaches(*own, *ip),
        (Host::Name(name), Host::Ip(ip)) => bound(name).is_some_and(|own| reaches(own, *ip)),
        _ => false,
    }
}

/// Finds the address that pen will listen on, if that is given by a name: looked up once. Waits for the resolver, so it is for a
/// pen that does not serve yet.
pub(super) fn first_address() -> impl Fn(&str) -> Option<IpAddr> {
    let found = OnceCell::new();
    // A name without an address is an error elsewhere. The names of other sockets are not asked for.
    move |name| *found.get_or_init(|| resolve::lookup_now(name).ok()?.first().copied())
}

/// Whether a connection to `ip` reaches a socket that is bound to `own`.
fn reaches(own: IpAddr, ip: IpAddr) -> bool {
    // A connection to the unspecified address reaches this machine.
    let ip = match ip.to_canonical() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    takes(own, ip) && (own.to_canonical() == ip || resolve::is_local(ip))
}

/// Takes out of the addresses that were found for names those that are pen itself, and returns them. They are only looked for if a
/// server has that name and the port that pen listens on; `bound` is as in [`is_own`].
pub(super) fn take_out(
    config: &Config,
    bound: impl Fn(&str) -> Option<IpAddr>,
    found: &mut [FoundName],
) -> Vec<(String, IpAddr)> {
    let Some(listening) = config.listening() else { return Vec::new() };
    let names = config.names_with_port(listening.port);
    let mut own = Vec::new();
    for (name, addresses) in found.iter_mut().filter(|(name, _)| names.contains(&**name)) {
        addresses.retain(|ip| {
            let is_own = is_own(listening, &bound, &Host::Ip(*ip), listening.port);
            own.extend(is_own.then(|| (name.clone(), *ip)));
            !is_own
        });
    }
    own
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
