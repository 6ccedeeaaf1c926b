//! The JSON documents of `json NAME` and of the admin listener: their names and their format. Their rows are those of
//! [`model`](super::report::model).
//!
//! Field names are an interface: doc/schema has a JSON schema of each document and penctl(1) a table of its fields.
//! Units are part of the names (`_seconds`, `_bytes`).

mod config;
pub mod document;
mod head;
mod pieces;
mod version;

pub use config::config;
pub use document::Document;
pub use head::{DocumentHead, ServersHead};
pub use pieces::{document, list};
pub use version::VersionDocument;
