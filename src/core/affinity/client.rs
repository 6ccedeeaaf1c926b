//! Who connected.

use std::fmt;
use std::net::IpAddr;

/// Who connected: an IP address, whatever its port. All clients of a Unix socket are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Client(Option<IpAddr>);

impl Client {
    /// The client of a Unix socket.
    pub const UNIX: Client = Client(None);

    /// A client with an address; an IPv4 address inside IPv6 is the IPv4 client.
    pub fn new(ip: IpAddr) -> Self {
        Client(Some(ip.to_canonical()))
    }

    /// Its address; none for a Unix client.
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
