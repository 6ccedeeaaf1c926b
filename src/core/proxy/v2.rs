//! Version 2: binary.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::header::{Addresses, Header, Malformed, ParsedHeader, malformed};
use super::tlv;

/// The beginning of a header.
pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The bytes before the addresses.
pub(super) const PREAMBLE: usize = 16;

/// Version 2, command LOCAL: the connection is the proxy's own.
pub(super) const LOCAL: u8 = 0x20;
/// Version 2, command PROXY.
pub(super) const PROXY: u8 = 0x21;

/// Bytes of the addresses of two Unix sockets.
const UNIX: usize = 216;

/// The protocols, as a family and a transport: what the receiver is told of is a stream or datagrams.
pub(super) mod protocol {
    /// Not told.
    pub(in crate::core::proxy) const UNSPEC: u8 = 0x00;
    /// IPv4.
    pub(in crate::core::proxy) const INET: u8 = 0x10;
    /// IPv6.
    pub(in crate::core::proxy) const INET6: u8 = 0x20;
    /// Unix sockets.
    pub(in crate::core::proxy) const UNIX: u8 = 0x30;
    /// A stream.
    pub(in crate::core::proxy) const STREAM: u8 = 0x1;
    /// Datagrams.
    pub(in crate::core::proxy) const DGRAM: u8 = 0x2;
}

/// Reads a header that begins with [`SIGNATURE`].
pub(super) fn parse(bytes: &[u8]) -> Result<ParsedHeader, Malformed> {
    let Some(&[command, protocol, high, low]) = bytes.get(SIGNATURE.len()..PREAMBLE) else {
        return Ok(ParsedHeader::Partial);
    };
    if command != LOCAL && command != PROXY {
        return malformed("version 2 with the command LOCAL or PROXY");
    }
    let length = usize::from(u16::from_be_bytes([high, low]));
    let Some(whole) = bytes.get(..PREAMBLE + length) else { return Ok(ParsedHeader::Partial) };
    // Nothing is told by the rest of LOCAL, whatever it is.
    let header = if command == PROXY { content(whole, protocol)? } else { Header::default() };
    Ok(ParsedHeader::Complete(header, whole.len()))
}

/// What follows the preamble of the header `whole`.
fn content(whole: &[u8], protocol: u8) -> Result<Header, Malformed> {
    let rest = &whole[PREAMBLE..];
    let (family, transport) = (protocol & 0xf0, protocol & 0x0f);
    if transport > protocol::DGRAM {
        return malformed("STREAM, DGRAM or UNSPEC");
    }
    let (addresses, length) = match family {
        // What follows is to be ignored.
        protocol::UNSPEC => return Ok(Header::default()),
        protocol::INET => (ipv4(rest), 12),
        protocol::INET6 => (ipv6(rest), 36),
        // The client is on the proxy's machine, and has no address there.
        protocol::UNIX => (None, UNIX),
        _ => return malformed("AF_INET, AF_INET6, AF_UNIX or AF_UNSPEC"),
    };
    if rest.len() < length {
        return malformed("addresses as long as their family's");
    }
    let (tls, values) = tlv::read(whole, PREAMBLE + length)?;
    // Datagrams do not come by a connection.
    Ok(Header { addresses: addresses.filter(|_| transport == protocol::STREAM), tls, values })
}

fn ipv4(bytes: &[u8]) -> Option<Addresses> {
    two::<4>(bytes, |octets| Ipv4Addr::from(octets).into())
}

fn ipv6(bytes: &[u8]) -> Option<Addresses> {
    two::<16>(bytes, |octets| Ipv6Addr::from(octets).into())
}

/// Two addresses of so many bytes, then their ports.
fn two<const BYTES: usize>(bytes: &[u8], ip: impl Fn([u8; BYTES]) -> IpAddr) -> Option<Addresses> {
    let (source, rest) = bytes.split_first_chunk()?;
    let (destination, rest) = rest.split_first_chunk()?;
    let &[a, b, c, d] = rest.first_chunk()?;
    let (from, to) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    Some(Addresses::new(SocketAddr::new(ip(*source), from), SocketAddr::new(ip(*destination), to)))
}
