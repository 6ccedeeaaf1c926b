//! PROXY headers written from the specification, independent of pen's own code.

use std::net::{IpAddr, SocketAddr};

/// A header of version 1 for a client and the address that it connected to.
pub(crate) fn v1(source: &str, destination: &str) -> Vec<u8> {
    let (from, to): (SocketAddr, SocketAddr) = (source.parse().unwrap(), destination.parse().unwrap());
    let family = if from.is_ipv4() { "TCP4" } else { "TCP6" };
    format!("PROXY {family} {} {} {} {}\r\n", from.ip(), to.ip(), from.port(), to.port()).into_bytes()
}

/// A header of version 2, of that command and protocol, with these bytes behind its length.
pub(crate) fn v2_of(command: u8, protocol: u8, rest: &[u8]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([0x20 | command, protocol]);
    header.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
    header.extend(rest);
    header
}

/// A header of version 2 for a client of a stream, with TLVs.
pub(crate) fn v2_with(source: &str, destination: &str, tlvs: &[u8]) -> Vec<u8> {
    let (from, to): (SocketAddr, SocketAddr) = (source.parse().unwrap(), destination.parse().unwrap());
    let mut rest = Vec::new();
    for address in [from, to] {
        match address.ip() {
            IpAddr::V4(ip) => rest.extend(ip.octets()),
            IpAddr::V6(ip) => rest.extend(ip.octets()),
        }
    }
    rest.extend([from, to].map(|address| address.port().to_be_bytes()).concat());
    rest.extend(tlvs);
    v2_of(1, if from.is_ipv4() { 0x11 } else { 0x21 }, &rest)
}

/// A header of version 2 for a client of a stream.
pub(crate) fn v2(source: &str, destination: &str) -> Vec<u8> {
    v2_with(source, destination, &[])
}

/// The TLVs in bytes of a header of version 2, by their types.
pub(crate) fn values(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut found = Vec::new();
    while let [kind, high, low, rest @ ..] = bytes {
        let (value, rest) = rest.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        found.push((*kind, value.to_vec()));
        bytes = rest;
    }
    found
}
