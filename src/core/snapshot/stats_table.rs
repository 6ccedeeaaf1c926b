//! The data of servers that outlives a snapshot.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use crate::core::backend::{ServerStats, Turns};
use crate::core::health::Check;
use crate::core::queue::Wakeup;

use super::backend::{Backend, Role, ServerAddress};

/// The data that lives as long as pen does, whatever the configuration.
#[derive(Debug, Default)]
pub struct StatsTable {
    servers: Vec<Arc<ServerStats>>,
    pub(super) emergency: Arc<ServerStats>,
    pub(super) abuse: Arc<ServerStats>,
    /// The regular server chosen last.
    pub cursor: Arc<AtomicUsize>,
    pub(super) turns: Arc<Turns>,
    pub(super) wakeup: Arc<Wakeup>,
    /// Servers that were removed and still have connections.
    pub(super) removed: Vec<Arc<Backend>>,
    /// The addresses and the check of each server in the last snapshot, by [`Role::number`].
    published: HashMap<i64, (Vec<ServerAddress>, Option<Arc<Check>>)>,
}

impl StatsTable {
    /// Records the addresses and the check that a server has from now on.
    pub(super) fn publish(&mut self, role: Role, addresses: &[ServerAddress], check: Option<&Arc<Check>>) {
        let published = (addresses.to_vec(), check.cloned());
        let (before, check_before) = self.published.insert(role.number(), published).unwrap_or_default();
        let new = !before.is_empty() && addresses.iter().any(|address| !before.contains(address));
        let gone = before.iter().any(|address| !addresses.contains(address));
        let stats = match role {
            Role::Regular(n) => self.server(n),
            Role::Emergency => &self.emergency,
            Role::Abuse => &self.abuse,
        };
        stats.has_moved(new, gone);
        let found = addresses.iter().any(|address| !before.contains(address));
        if check != check_before.as_ref() || (check.is_some() && (found || gone)) {
            stats.forget_health(check.is_some());
        }
    }

    /// Moves the server of a slot to the removed ones; a new server in the slot does not inherit its counters. It gets no more
    /// connections by [`ServerStats::remove`].
    pub fn remove(&mut self, n: usize, backend: Arc<Backend>) {
        self.removed.push(backend);
        self.published.remove(&Role::Regular(n).number());
        if let Some(stats) = self.servers.get_mut(n) {
            *stats = Arc::new(ServerStats::new(Arc::clone(&self.wakeup)));
        }
    }

    /// The counters of a server slot.
    pub fn server(&mut self, n: usize) -> &Arc<ServerStats> {
        if self.servers.len() <= n {
            self.servers.resize_with(n + 1, || Arc::new(ServerStats::new(Arc::clone(&self.wakeup))));
        }
        &self.servers[n]
    }
}
