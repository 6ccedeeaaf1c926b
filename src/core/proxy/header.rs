//! The contents of a header, and the classification of bytes.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// The source and destination of a connection. Both are of the same family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// The client's.
    pub source: SocketAddr,
    /// The one that the client connected to.
    pub destination: SocketAddr,
}

impl Addresses {
    /// Converts two addresses, which may be IPv4-mapped.
    pub fn new(source: SocketAddr, destination: SocketAddr) -> Self {
        let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        let (from, to) = (canonical(source), canonical(destination));
        if from.is_ipv4() == to.is_ipv4() {
            return Addresses { source: from, destination: to };
        }
        let mapped = |address: SocketAddr| match address.ip() {
            IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
            IpAddr::V6(_) => address,
        };
        Addresses { source: mapped(from), destination: mapped(to) }
    }
}

/// The contents of a header.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Header {
    /// The addresses. `None` if the connection is the proxy's own (LOCAL), or the header does not contain any (UNKNOWN,
    /// UNSPEC, a Unix socket): those of the connection itself are used then.
    pub addresses: Option<Addresses>,
    /// Whether the client uses TLS with the proxy.
    pub tls: bool,
    /// What else the proxy says, as the types, lengths and values of version 2: all but what is about the header itself.
    pub values: Vec<u8>,
}

/// Why bytes that begin like a header are invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed {
    /// What was expected.
    pub expected: &'static str,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}", self.expected)
    }
}

/// Shorthand of the parsers.
pub(super) const fn malformed<T>(expected: &'static str) -> Result<T, Malformed> {
    Err(Malformed { expected })
}

/// The classification of a connection's first bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParsedHeader {
    /// The beginning of a header: more bytes are needed to decide.
    Partial,
    /// Not a header: they begin differently.
    Absent,
    /// A header of this many bytes.
    Complete(Header, usize),
}
