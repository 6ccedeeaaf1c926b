//! The identity of a connection's client, and its place in pen's tables.

use std::sync::OnceLock;

use crate::core::affinity::Client;
use crate::core::tls_session::TlsSession;

use super::client_name::ClientName;

/// A client, with its keys in pen's tables.
#[derive(Debug, Clone, Copy)]
pub struct KnownClient {
    /// The client.
    pub client: Client,
    /// Its key in the affinity table.
    pub key: Client,
    /// Its port; `None` for a client of a Unix socket.
    pub port: Option<u16>,
    /// Its number in the affinity table, if it is in there.
    pub id: Option<usize>,
}

impl KnownClient {
    /// Its name in messages.
    pub(in crate::net) fn name(&self) -> ClientName {
        ClientName { client: self.client, port: self.port }
    }
}

/// What is known of a client behind a proxy, or with TLS. Most connections have neither.
#[derive(Debug, Default)]
pub(super) struct RareParts {
    /// The client in the PROXY header, if that is another one.
    pub(super) announced: OnceLock<KnownClient>,
    /// The parameters of its TLS session.
    pub(super) tls: OnceLock<TlsSession>,
}
