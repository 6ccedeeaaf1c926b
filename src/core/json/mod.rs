//! The JSON documents of `json NAME` and of the admin listener: what they are called and how their rows look.
//!
//! Field names are an interface: doc/schema has a JSON schema of each document and penctl(1) a table of its fields.
//! Units are part of the names (`_seconds`, `_bytes`).

mod client;
mod config;
mod connection;
pub mod document;
mod head;
mod pieces;
mod server;
mod version;

pub use client::ClientRow;
pub use config::config;
pub use connection::{ConnectionRow, ConnectionState};
pub use document::Document;
pub use head::Head;
pub(crate) use head::seconds;
pub use pieces::{Pieces, document, list};
pub use server::{ServerRow, ServerState, servers};
pub use version::Version;
