//! What the status page and the statistics say before and between their tables.

use std::sync::atomic::Ordering::Relaxed;

use super::server::ServerRow;
use crate::core::Millis;
use crate::core::snapshot::Snapshot;

/// The totals, and the servers.
#[derive(Debug, Clone)]
pub struct Status {
    /// Local date and time.
    pub time: String,
    /// The servers that have a number.
    pub servers: Vec<ServerRow>,
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
    /// The servers of `snapshot` that have a number, at `now`. One that was removed stands before the one that has its slot
    /// now.
    pub fn servers(snapshot: &Snapshot, now: Millis) -> Vec<ServerRow> {
        let slots = snapshot.leaving().chain(snapshot.backends.iter().flatten());
        let rows = slots.map(|backend| ServerRow::new(backend, now));
        let mut rows: Vec<ServerRow> = rows.filter(|row| row.server.is_some()).collect();
        rows.sort_by_key(|row| row.number);
        rows
    }

    /// The number of the server that was chosen last.
    pub fn current(snapshot: &Snapshot) -> usize {
        snapshot.cursor.load(Relaxed)
    }
}
