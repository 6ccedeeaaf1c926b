//! What is alive about a server: its connections, its blacklisting, its traffic. Workers bump it, snapshots point at it.

use super::Millis;
use super::traffic::Traffic;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// The counters of one server slot. They outlive changes of its configuration.
#[derive(Debug, Default)]
pub struct ServerStats {
    connections: AtomicU32,
    blacklisted_until: AtomicU64,
    /// Bytes sent to the server and received from it.
    pub traffic: Traffic,
}

impl ServerStats {
    /// Connections that it has or that are being made.
    pub fn connections(&self) -> u32 {
        self.connections.load(Relaxed)
    }

    /// Takes one connection out of `limit` (`None`: there is no limit). The connection ends when the slot is dropped.
    pub fn acquire(self: &Arc<Self>, limit: Option<u32>) -> Option<ServerSlot> {
        let limit = limit.unwrap_or(u32::MAX);
        let taken = self.connections.fetch_update(Relaxed, Relaxed, |n| (n < limit).then(|| n + 1));
        taken.ok().map(|_| ServerSlot(Arc::clone(self)))
    }

    /// Leaves the server out until then; a time that has passed takes it back in.
    pub fn blacklist_until(&self, until: Millis) {
        // Looked at first, since a success clears at every connection and the line is shared between cores.
        if self.blacklisted_until.load(Relaxed) != until {
            self.blacklisted_until.store(until, Relaxed);
        }
    }

    /// Milliseconds for which it is still left out.
    pub fn blacklisted_for(&self, now: Millis) -> Millis {
        self.blacklisted_until.load(Relaxed).saturating_sub(now)
    }
}

/// One connection of a server, from the decision to connect until both sides are closed.
#[derive(Debug)]
pub struct ServerSlot(Arc<ServerStats>);

impl ServerSlot {
    /// The server's counters.
    pub fn live(&self) -> &ServerStats {
        &self.0
    }
}

impl Drop for ServerSlot {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Relaxed);
    }
}
