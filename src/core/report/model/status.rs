//! What the status page and the statistics say before and between their tables.

use std::sync::atomic::Ordering::Relaxed;

use crate::core::snapshot::Snapshot;

/// The totals.
#[derive(Debug, Clone)]
pub struct Status {
    /// Local date and time.
    pub time: String,
    /// How many servers have a number.
    pub servers: usize,
    /// The server that was chosen last.
    pub current: usize,
    /// Room for clients.
    pub clients_max: usize,
    /// How many connections there are.
    pub connections: usize,
    /// The number of the connection that was opened last.
    pub last_connection: usize,
    /// How many there may be.
    pub connections_max: usize,
    /// With UDP, the datagrams that were not passed on.
    pub dropped: Option<u64>,
    /// Connections that the limits of clients have refused.
    pub refused: u64,
    /// Connections that were closed for their PROXY header, or for want of one.
    pub unannounced: u64,
}

impl Status {
    /// How many servers of `snapshot` have a number; one that was removed counts as long as it has connections.
    pub fn servers(snapshot: &Snapshot) -> usize {
        snapshot.backends.iter().flatten().count() + snapshot.leaving().count()
    }

    /// The number of the server that was chosen last.
    pub fn current(snapshot: &Snapshot) -> usize {
        snapshot.cursor.load(Relaxed)
    }
}
