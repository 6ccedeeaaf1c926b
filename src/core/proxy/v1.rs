//! Version 1: one line of text.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::header::{Addresses, Header, Malformed, ParsedHeader, malformed};

/// The beginning of a header.
pub(super) const SIGNATURE: &[u8] = b"PROXY ";
/// The maximum length of a line, including its end.
pub(super) const MAX: usize = 107;

/// Parses a header that begins with [`SIGNATURE`].
pub(super) fn parse(bytes: &[u8]) -> Result<ParsedHeader, Malformed> {
    let seen = bytes.get(..MAX).unwrap_or(bytes);
    let Some(end) = memchr::memchr(b'\n', seen) else {
        return if seen.len() < MAX {
            Ok(ParsedHeader::Partial)
        } else {
            malformed("CR LF within 107 bytes")
        };
    };
    let Some(line) = seen[SIGNATURE.len()..end].strip_suffix(b"\r") else {
        return malformed("CR before LF");
    };
    let Ok(line) = std::str::from_utf8(line) else { return malformed("ASCII text") };
    let addresses = match line.split_once(' ').unwrap_or((line, "")) {
        ("UNKNOWN", _) => None,
        ("TCP4", rest) => Some(addresses::<Ipv4Addr>(rest)?),
        ("TCP6", rest) => Some(addresses::<Ipv6Addr>(rest)?),
        _ => return malformed("TCP4, TCP6 or UNKNOWN"),
    };
    Ok(ParsedHeader::Complete(Header { addresses, ..Header::default() }, end + 1))
}

fn addresses<A: FromStr + Into<IpAddr>>(words: &str) -> Result<Addresses, Malformed> {
    let mut words = words.split(' ');
    let mut address = || words.next().and_then(|word| Some(word.parse::<A>().ok()?.into()));
    let (Some(source), Some(destination)) = (address(), address()) else {
        return malformed("two addresses of the family named");
    };
    let mut port = || words.next().and_then(port);
    let (Some(from), Some(to), None) = (port(), port(), words.next()) else {
        return malformed("two ports from 0 to 65535, and no more");
    };
    Ok(Addresses::new(SocketAddr::new(source, from), SocketAddr::new(destination, to)))
}

fn port(word: &str) -> Option<u16> {
    // The standard library also accepts "+80" and "080".
    let canonical = word == "0" || !word.starts_with(['0', '+']);
    word.parse().ok().filter(|_| canonical)
}

/// Writes a header; without addresses it declares them unknown.
pub(super) fn print(addresses: Option<Addresses>) -> Vec<u8> {
    let Some(Addresses { source, destination }) = addresses else {
        return b"PROXY UNKNOWN\r\n".to_vec();
    };
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (source.ip(), destination.ip());
    format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port()).into_bytes()
}
