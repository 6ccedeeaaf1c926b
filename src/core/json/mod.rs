//! The JSON documents of `json NAME` and of the admin listener: what they are called and how their rows look.
//!
//! Field names are an interface: doc/schema has a JSON schema of each document and penctl(1) a table of its fields.
//! Units are part of the names (`_seconds`, `_bytes`).

mod client;
mod config;
mod connection;
mod pieces;
mod server;
mod version;

pub use client::ClientRow;
pub use config::config;
pub use connection::{ConnectionRow, ConnectionState};
pub use pieces::{Pieces, document, list};
pub use server::{ServerRow, ServerState, servers};
pub use version::Version;

use super::settings::Keyword;
use super::settings::keyword::keywords;
use serde::Serialize;

keywords! {
    /// A document that can be asked for by name.
    Document {
        /// The clients in the affinity table.
        Clients = "clients",
        /// The configuration.
        Config = "config",
        /// The connections.
        Connections = "connections",
        /// The servers, emergency and abuse server included.
        Servers = "servers",
        /// The program and its process.
        Version = "version",
    }
}

/// What every document begins with.
#[derive(Debug, Clone, Serialize)]
pub struct Head {
    /// When it was begun, as RFC 3339 has it, in local time with its zone.
    pub time: String,
}

/// Seconds with three decimals, of a time in milliseconds.
pub(crate) fn seconds(millis: super::Millis) -> f64 {
    millis as f64 / 1000.0
}
