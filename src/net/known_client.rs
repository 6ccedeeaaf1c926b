//! The client of a connection as pen knows it.

use crate::core::affinity::Client;

use super::client_name::ClientName;

/// A client, and its places in pen's tables.
#[derive(Debug, Clone, Copy)]
pub struct KnownClient {
    /// Who it is.
    pub client: Client,
    /// As which client the affinity table knows it.
    pub key: Client,
    /// Its port; none for one of a Unix socket.
    pub port: Option<u16>,
    /// Its number in the affinity table, if it is there.
    pub id: Option<usize>,
}

impl KnownClient {
    /// As messages name it.
    pub(in crate::net) fn name(&self) -> ClientName {
        ClientName { client: self.client, port: self.port }
    }
}
