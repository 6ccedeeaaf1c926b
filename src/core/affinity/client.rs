//! The identity of a client.

use std::fmt;
use std::net::IpAddr;

/// The identity of a client: an IP address without the port. All clients of a Unix socket are one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Client(Option<IpAddr>);

impl Client {
    /// The client of a Unix socket.
    pub const UNIX: Client = Client(None);

    /// A client with an address; an IPv4 address inside IPv6 is the IPv4 client.
    pub fn new(ip: IpAddr) -> Self {
        Client(Some(ip.to_canonical()))
    }

    /// This client with only the leading bits of its address: clients that agree in these bits are one.
    #[must_use]
    pub fn masked(self, mask: ClientMask) -> Self {
        let address = match self.0 {
            Some(IpAddr::V4(ip)) => {
                let bits = u32::MAX.checked_shl(32 - u32::from(mask.v4)).unwrap_or(0);
                Some(IpAddr::V4((u32::from(ip) & bits).into()))
            }
            Some(IpAddr::V6(ip)) => {
                let bits = u128::MAX.checked_shl(128 - u32::from(mask.v6)).unwrap_or(0);
                Some(IpAddr::V6((u128::from(ip) & bits).into()))
            }
            None => None,
        };
        Client(address)
    }

    /// Its address; `None` for a Unix client.
    pub fn ip(self) -> Option<IpAddr> {
        self.0
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(ip) => ip.fmt(f),
            // As in C pen's log and replies.
            None => Ok(()),
        }
    }
}

/// How many leading bits of an address identify a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientMask {
    /// Of an IPv4 address, at most 32.
    pub v4: u8,
    /// Of an IPv6 address, at most 128.
    pub v6: u8,
}

impl Default for ClientMask {
    fn default() -> Self {
        ClientMask { v4: 32, v6: 128 }
    }
}

impl ClientMask {
    /// Reads the two numbers.
    pub fn parse(v4: &str, v6: &str) -> Option<Self> {
        let bits = |word: &str, max: u8| {
            let digits = word.bytes().all(|b| b.is_ascii_digit());
            word.parse().ok().filter(|bits| digits && *bits <= max)
        };
        Some(ClientMask { v4: bits(v4, 32)?, v6: bits(v6, 128)? })
    }
}

impl fmt::Display for ClientMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.v4, self.v6)
    }
}
