//! A row for each connection, or flow of datagrams.

use serde::Serialize;
use std::net::IpAddr;

use crate::core::tls_session::TlsSession;

/// Where a connection is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionState {
    /// It has no server yet.
    Connecting,
    /// It waits in the queue until a server has a place.
    Waiting,
    /// It has one.
    Connected,
}

/// A connection.
#[derive(Debug, Clone, Serialize)]
pub struct ConnectionRow {
    /// Its number, as in other replies.
    pub connection: usize,
    /// Where it is in its life.
    pub state: ConnectionState,
    /// The client's address; none for one of a Unix socket.
    pub client_address: Option<IpAddr>,
    /// The client's port; none for one of a Unix socket.
    pub client_port: Option<u16>,
    /// The client's number, if it is in the affinity table.
    pub client: Option<usize>,
    /// The server's number; none without a server, and for the emergency and the abuse server.
    pub server: Option<usize>,
    /// The same as C pen numbers servers: -1 for none and for the emergency server, -2 for the abuse server.
    #[serde(skip)]
    pub server_number: i64,
    /// Descriptor towards the client, -1 for none.
    #[serde(skip)]
    pub downfd: i32,
    /// Descriptor towards the server, -1 for none.
    #[serde(skip)]
    pub upfd: i32,
    /// Since it was accepted.
    pub age_seconds: f64,
    /// Bytes delivered to the client.
    pub to_client_bytes: u64,
    /// Bytes delivered to the server.
    pub to_server_bytes: u64,
    /// Bytes read and not yet delivered to the client.
    pub pending_to_client_bytes: u32,
    /// Bytes read and not yet delivered to the server.
    pub pending_to_server_bytes: u32,
    /// What was agreed on with a client that speaks TLS.
    pub tls: Option<TlsSession>,
}

impl ConnectionRow {
    /// What else is known, such as the TLS protocol: a line each.
    pub fn notes(&self) -> Vec<String> {
        self.tls.as_ref().map(TlsSession::notes).unwrap_or_default()
    }

    /// The client's number, -1 for one that is not in the affinity table, as in C pen.
    pub fn client_number(&self) -> i64 {
        self.client.map_or(-1, |id| i64::try_from(id).unwrap_or(i64::MAX))
    }
}
