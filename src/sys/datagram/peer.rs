//! The peer of a datagram: the client, and the address that it sent to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The sender of a datagram, and the address of pen that it was sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Peer {
    /// The client's address and port.
    pub client: SocketAddr,
    pub(super) local: Option<LocalAddress>,
}

/// The address that replies leave from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct LocalAddress {
    /// The destination of the datagram, unless it is a multicast or the limited broadcast address.
    pub(super) ip: IpAddr,
    /// The interface of a link-local address, which is ambiguous without it (RFC 4007 4); otherwise 0.
    pub(super) interface: u32,
    /// The source address if the system refuses `ip`, as it does for the broadcast address of a subnet.
    pub(super) otherwise: Option<IpAddr>,
}

impl LocalAddress {
    /// The address for a datagram sent to `destination`, for which the system proposes to reply from `proposed`:
    /// ipi_addr and ipi_spec_dst of an in_pktinfo. `None` leaves the choice to the route.
    ///
    /// On Linux the two differ only for multicast and broadcast. On Solaris and illumos the proposal is any suitable
    /// address of the receiving interface, rather than the alias or VRRP address that the client sent to.
    pub(super) fn of_ipv4(destination: Ipv4Addr, proposed: Ipv4Addr) -> Option<Self> {
        let is_usable = |ip: &Ipv4Addr| !ip.is_multicast() && !ip.is_broadcast() && !ip.is_unspecified();
        let proposed = Some(proposed).filter(is_usable).map(IpAddr::V4);
        match Some(destination).filter(is_usable) {
            Some(ip) => {
                let ip = IpAddr::V4(ip);
                Some(Self { ip, interface: 0, otherwise: proposed.filter(|other| *other != ip) })
            }
            None => proposed.map(|ip| Self { ip, interface: 0, otherwise: None }),
        }
    }

    /// The same for IPv6, where there is no proposal. The destination may be an IPv4-mapped address.
    pub(super) fn of_ipv6(destination: Ipv6Addr, interface: u32) -> Option<Self> {
        if let Some(mapped) = destination.to_ipv4_mapped() {
            Self::of_ipv4(mapped, Ipv4Addr::UNSPECIFIED)?;
        } else if destination.is_multicast() || destination.is_unspecified() {
            return None;
        }
        let interface = if destination.is_unicast_link_local() { interface } else { 0 };
        Some(Self { ip: destination.into(), interface, otherwise: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(destination: &str, proposed: &str) -> Vec<String> {
        let address = |text: &str| text.parse::<Ipv4Addr>().expect("address");
        let found = LocalAddress::of_ipv4(address(destination), address(proposed));
        found
            .into_iter()
            .flat_map(|local| [Some(local.ip), local.otherwise])
            .flatten()
            .map(|ip| ip.to_string())
            .collect()
    }

    #[test]
    fn an_answer_leaves_from_the_address_that_was_asked_and_not_from_another_of_the_interface() {
        assert_eq!(sources("10.0.0.7", "10.0.0.7"), ["10.0.0.7"]);
        // An alias, or a VRRP address, on Solaris.
        assert_eq!(sources("10.0.0.8", "10.0.0.7"), ["10.0.0.8", "10.0.0.7"]);
        // Only the system knows that this is the broadcast address of a subnet.
        assert_eq!(sources("10.0.0.255", "10.0.0.7"), ["10.0.0.255", "10.0.0.7"]);
        assert_eq!(sources("255.255.255.255", "10.0.0.7"), ["10.0.0.7"]);
        assert_eq!(sources("224.0.0.1", "10.0.0.7"), ["10.0.0.7"]);
        assert!(sources("224.0.0.1", "0.0.0.0").is_empty());
    }

    #[test]
    fn no_answer_leaves_from_a_multicast_address_or_one_that_is_mapped() {
        let source = |text: &str| LocalAddress::of_ipv6(text.parse().expect("address"), 3);
        for group in ["ff02::1", "::", "::ffff:224.0.0.1", "::ffff:255.255.255.255"] {
            assert_eq!(source(group), None, "{group}");
        }
        assert_eq!(source("fe80::1").expect("an address").interface, 3);
        assert_eq!(source("2001:db8::1").expect("an address").interface, 0);
        assert_eq!(source("::ffff:10.0.0.7").expect("an address").interface, 0);
    }
}
