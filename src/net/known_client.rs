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
    /// Its number in the affinity table, which has fewer entries than this type has numbers. Each connection
    /// keeps one, so the type is no larger than it must be.
    id: Option<u32>,
}

impl KnownClient {
    /// A client that is not in the affinity table.
    pub fn unlisted(client: Client, key: Client, port: Option<u16>) -> Self {
        KnownClient { client, key, port, id: None }
    }

    /// This client, with its number in the affinity table, if it is in there.
    #[must_use]
    pub fn with_id(self, id: Option<usize>) -> Self {
        KnownClient { id: id.and_then(|id| u32::try_from(id).ok()), ..self }
    }

    /// Its number in the affinity table, if it is in there.
    pub fn id(&self) -> Option<usize> {
        self.id.map(|id| id as usize)
    }

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
