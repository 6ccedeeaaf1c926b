//! What a header says, and what bytes are.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Who a connection is from, and to which address it was made. Both are of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// The client's.
    pub source: SocketAddr,
    /// The one that the client connected to.
    pub destination: SocketAddr,
}

impl Addresses {
    /// Of two addresses, which may be IPv4 ones inside IPv6.
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

/// What a header says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Header {
    /// The addresses. None where the connection is the proxy's own (LOCAL), or the header does not tell (UNKNOWN, UNSPEC, a
    /// Unix socket): those of the connection itself count then.
    pub addresses: Option<Addresses>,
    /// Whether the client speaks TLS to the proxy.
    pub tls: bool,
    /// What else the proxy says, as the types, lengths and values of version 2: all but what is about the header itself.
    pub values: Vec<u8>,
}

/// Why bytes that begin as a header does are none.
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

/// What the first bytes of a connection are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed {
    /// The beginning of a header: only more bytes can tell.
    Partial,
    /// No header: they begin with something else.
    Absent,
    /// A header of so many bytes.
    Complete(Header, usize),
}
