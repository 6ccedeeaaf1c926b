//! The fields that all documents share.

use serde::Serialize;

/// What the document of the servers begins with.
#[derive(Debug, Clone, Serialize)]
pub struct ServersHead {
    /// When it was begun, as for [`DocumentHead`].
    pub time: String,
    /// Connections that wait in the queue for a place at a server.
    pub queue_connections: usize,
    /// How many may.
    pub queue_max: usize,
    /// Whether new clients are served, as for `/health`.
    pub can_serve: bool,
}

/// The first fields of every document.
#[derive(Debug, Clone, Serialize)]
pub struct DocumentHead {
    /// The time at which the document was begun, in RFC 3339 form, in local time with its zone.
    pub time: String,
}
