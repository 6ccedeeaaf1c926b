//! The name of a client in messages.

use std::fmt;
use std::net::SocketAddr;

use crate::core::affinity::Client;

/// A client's address and port, so that several connections of one host can be distinguished.
#[derive(Debug, Clone, Copy)]
pub(in crate::net) struct ClientName {
    /// Its address.
    pub(in crate::net) client: Client,
    /// Its port; `None` for a client of a Unix socket.
    pub(in crate::net) port: Option<u16>,
}

impl fmt::Display for ClientName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.client.ip(), self.port) {
            (Some(ip), Some(port)) => SocketAddr::new(ip, port).fmt(f),
            (Some(ip), None) => ip.fmt(f),
            (None, _) => f.write_str("a client of the Unix socket"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_named_with_its_port() {
        let name =
            |ip: &str| ClientName { client: Client::new(ip.parse().unwrap()), port: Some(80) }.to_string();
        assert_eq!(
            [name("10.0.0.1"), name("::ffff:10.0.0.1"), name("fe80::1")],
            ["10.0.0.1:80", "10.0.0.1:80", "[fe80::1]:80"]
        );
        let unix = ClientName { client: Client::UNIX, port: None };
        assert_eq!(unix.to_string(), "a client of the Unix socket");
    }
}
