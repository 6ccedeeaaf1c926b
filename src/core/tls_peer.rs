//! The server at the other end of a TLS connection.

use super::addr::{Endpoint, Host};
use std::fmt;

/// The server of a TLS connection, and how it is authenticated.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TlsPeer {
    /// Where it is, as configured.
    endpoint: Endpoint,
    /// The name that its certificate must be valid for; `None` if unknown, as for a Unix socket.
    pub name: Option<Host>,
    /// Whether its certificate is verified.
    pub verify: bool,
}

impl TlsPeer {
    /// A server at `endpoint`, which has the name of its host unless another `name` is given.
    pub(super) fn new(endpoint: Endpoint, name: Option<&Host>, verify: bool) -> Self {
        let name = name.unwrap_or(&endpoint.host);
        let name = Some(name).filter(|name| !name.is_path()).cloned();
        TlsPeer { endpoint, name, verify }
    }
}

impl fmt::Display for TlsPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.endpoint.fmt(f)
    }
}
