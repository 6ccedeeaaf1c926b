//! The reported values, as rows.
//!
//! The serialized names are those of the JSON documents, which are an interface: doc/schema has a JSON schema of each
//! document and penctl(1) a table of its fields. Units are part of the names (`_seconds`, `_bytes`).

mod check;
mod client;
mod connection;
mod observed;
mod server;
mod status;
mod units;
mod walk;

pub use check::{CheckRow, HealthWord};
pub use client::ClientRow;
pub use connection::{ConnectionRow, ConnectionState};
pub use observed::{ObservedServer, reason};
pub use server::{ServerRow, ServerState, standing, standing_of};
pub use status::Status;
pub(crate) use units::seconds;
pub use walk::{ServerWalk, WalkOrder};
