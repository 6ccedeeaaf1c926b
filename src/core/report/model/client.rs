//! A row for each client in the affinity table.

use serde::Serialize;
use std::net::IpAddr;

use crate::core::Millis;
use crate::core::affinity::{Client, Record};

use super::units::seconds;

/// A client.
#[derive(Debug, Clone, Serialize)]
pub struct ClientRow {
    /// Its number, as in other replies.
    pub client: usize,
    /// Its address; none for the clients of a Unix socket, which are one.
    pub address: Option<IpAddr>,
    /// The regular server that it last had.
    pub server: Option<usize>,
    /// How long ago it last connected.
    pub age_seconds: f64,
    /// How often it has connected.
    pub connects: u64,
    /// Bytes sent to it.
    pub sent_bytes: u64,
    /// Bytes received from it.
    pub received_bytes: u64,
}

impl ClientRow {
    /// The row of `client` at `now`.
    pub fn new(client: Client, record: &Record, now: Millis) -> Self {
        ClientRow {
            client: record.id,
            address: client.ip(),
            server: record.server,
            age_seconds: seconds(now.saturating_sub(record.seen)),
            connects: record.connects,
            sent_bytes: record.sx,
            received_bytes: record.rx,
        }
    }

    /// Its address as replies show it: nothing for the clients of a Unix socket, as in C pen.
    pub fn label(&self) -> String {
        self.address.map(|ip| ip.to_string()).unwrap_or_default()
    }
}
