//! The hashes that choose a server for a client.
//!
//! Rendezvous hashing (Thaler and Ravishankar, 1998): the score of a server for a client depends on these two alone,
//! and the highest score wins. When a server is added or removed, only the clients that it gains or loses move. These
//! functions never change: two redundant balancers must agree, and so must a pen and its newer version.

use super::addr::Host;
use super::affinity::Client;
use std::net::{IpAddr, SocketAddr};

/// The offset basis of FNV-1a, 64 bits (draft-eastlake-fnv).
const SEED: u64 = 0xcbf2_9ce4_8422_2325;

/// The finaliser of splitmix64 (Steele, Lea and Flood, 2014).
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// FNV-1a, 64 bits.
fn absorb(state: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(state, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3))
}

fn absorb_ip(ip: IpAddr) -> u64 {
    match ip {
        IpAddr::V4(ip) => absorb(SEED, &ip.octets()),
        IpAddr::V6(ip) => absorb(SEED, &ip.octets()),
    }
}

/// The hash of a client by its address and `port`; pass 0 to ignore the port.
pub fn client(client: Client, port: u16) -> u64 {
    let ip = client.ip().map_or(SEED, absorb_ip);
    mix(absorb(ip, &port.to_be_bytes()))
}

/// The hash of a server by its configured address, not by its slot.
pub fn server(host: &Host, port: u16) -> u64 {
    mix(absorb(absorb(SEED, host.to_string().as_bytes()), &port.to_be_bytes()))
}

/// The hash of an address.
pub fn address(address: SocketAddr) -> u64 {
    mix(absorb(absorb_ip(address.ip()), &address.port().to_be_bytes()))
}

/// The score of a server for a client.
pub fn score(server: u64, client: u64) -> u64 {
    mix(server ^ client)
}
