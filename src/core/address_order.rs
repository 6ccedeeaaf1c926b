//! The order in which the addresses of a server are tried.

use super::hash;
use super::snapshot::ServerAddress;
use std::net::SocketAddr;

/// A number by which an address that worked is remembered; never 0.
pub fn mark(address: &ServerAddress) -> u64 {
    match address {
        ServerAddress::Ip(address) => hash::address(*address) | 1,
        ServerAddress::Unix(_) => 1,
    }
}

/// The indices of `addresses` in the order in which to try them: first the one with the mark `worked`, then the
/// families alternately, each in the resolver's order (RFC 8305 4). If IPv6 is broken on the way, the second attempt
/// already uses IPv4.
pub fn order(addresses: &[ServerAddress], worked: u64) -> Vec<usize> {
    if addresses.is_empty() {
        return Vec::new();
    }
    let is_ipv6 = |n: &usize| matches!(addresses[*n], ServerAddress::Ip(SocketAddr::V6(_)));
    let first = (0..addresses.len()).find(|n| mark(&addresses[*n]) == worked).unwrap_or(0);
    let rest = || (0..addresses.len()).filter(|n| *n != first);
    let (v6, v4): (Vec<usize>, Vec<usize>) = rest().partition(is_ipv6);
    let (mut next, mut other) =
        if is_ipv6(&first) { (v4.into_iter(), v6.into_iter()) } else { (v6.into_iter(), v4.into_iter()) };
    let mut order = vec![first];
    while order.len() < addresses.len() {
        order.extend(next.next());
        order.extend(other.next());
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn addresses(texts: &[&str]) -> Vec<ServerAddress> {
        texts.iter().map(|text| ServerAddress::Ip(SocketAddr::new(text.parse().unwrap(), 80))).collect()
    }

    #[test]
    fn families_take_turns_and_what_worked_is_first() {
        let all = addresses(&["fd00::1", "fd00::2", "fd00::3", "10.0.0.1", "10.0.0.2"]);
        assert_eq!(order(&all, 0), [0, 3, 1, 4, 2]);
        assert_eq!(order(&all, mark(&all[4])), [4, 0, 3, 1, 2]);
        assert_eq!(order(&addresses(&["10.0.0.1", "10.0.0.2"]), 0), [0, 1]);
        assert_eq!(order(&[], 7), [] as [usize; 0]);
    }

    proptest! {
        #[test]
        fn every_address_has_its_place(families in prop::collection::vec(any::<bool>(), 1..12), worked in 0usize..12) {
            let ip = |(n, v6): (usize, &bool)| {
                if *v6 { format!("fd00::{n:x}") } else { format!("10.0.0.{n}") }
            };
            let texts: Vec<String> = families.iter().enumerate().map(ip).collect();
            let all = addresses(&texts.iter().map(String::as_str).collect::<Vec<_>>());
            let worked = all.get(worked).map_or(0, mark);
            let mut found = order(&all, worked);
            found.sort_unstable();
            prop_assert_eq!(found, (0..all.len()).collect::<Vec<_>>());
        }
    }
}
