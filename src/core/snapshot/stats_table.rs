//! The data of servers that outlives a snapshot.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use crate::core::backend::{RuledOutTable, ServerStats, Turns};
use crate::core::command::server_keys::ServerConfig;
use crate::core::health::Check;
use crate::core::queue::Wakeup;

use super::backend::{Backend, Resolved, Role, ServerAddress};

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
    /// Which servers are known not to meet a criterion.
    pub(super) ruled_out: RuledOutTable,
    /// Servers that were removed and still have connections.
    pub(super) removed: Vec<Arc<Backend>>,
    /// The addresses and the check of each server in the last snapshot, by [`Role::number`].
    published: HashMap<i64, (Vec<ServerAddress>, Option<Arc<Check>>)>,
    /// The servers of the last snapshot by slot, and what they were made from: most stay the same.
    made: Vec<Option<(Arc<ServerConfig>, Arc<Backend>)>>,
    /// The number of the last period of a server, see [`ServerStats::forget_health`].
    last_period: u64,
}

impl StatsTable {
    /// The server that the last snapshot has in a slot, if it would be the same again.
    pub(super) fn same(
        &self,
        n: usize,
        server: &Arc<ServerConfig>,
        check: Option<&Arc<Check>>,
        check_pauses: bool,
        resolved: &Resolved,
    ) -> Option<Arc<Backend>> {
        let (from, backend) = self.made.get(n)?.as_ref()?;
        let is_same = from == server
            && self.servers.get(n).is_some_and(|stats| Arc::ptr_eq(stats, &backend.stats))
            && backend.check.as_ref() == check
            && backend.check_pauses == check_pauses
            && backend.is_at(server, resolved);
        is_same.then(|| Arc::clone(backend))
    }

    /// Records the server that is made for a slot.
    pub(super) fn note(&mut self, n: usize, server: &Arc<ServerConfig>, backend: Option<&Arc<Backend>>) {
        if self.made.len() <= n {
            self.made.resize(n + 1, None);
        }
        self.made[n] = backend.map(|backend| (Arc::clone(server), Arc::clone(backend)));
    }

    /// Records the addresses and the check that a server has from now on.
    pub(super) fn publish(&mut self, role: Role, addresses: &[ServerAddress], check: Option<&Arc<Check>>) {
        let published = (addresses.to_vec(), check.cloned());
        let (before, check_before) = self.published.insert(role.number(), published).unwrap_or_default();
        let new = !before.is_empty() && addresses.iter().any(|address| !before.contains(address));
        let gone = before.iter().any(|address| !addresses.contains(address));
        self.last_period += 1;
        let period = self.last_period;
        let stats = match role {
            Role::Regular(n) => self.server(n),
            Role::Emergency => &self.emergency,
            Role::Abuse => &self.abuse,
        };
        stats.has_moved(new, gone);
        let found = addresses.iter().any(|address| !before.contains(address));
        if check != check_before.as_ref() || (check.is_some() && (found || gone)) {
            stats.forget_health(check.is_some(), period);
        }
    }

    /// Moves the server of a slot to the removed ones; a new server in the slot does not inherit its counters. It gets no more
    /// connections by [`ServerStats::remove`].
    pub fn remove(&mut self, n: usize, backend: Arc<Backend>) {
        self.removed.push(backend);
        self.published.remove(&Role::Regular(n).number());
        if let Some(made) = self.made.get_mut(n) {
            *made = None;
        }
        if let Some(stats) = self.servers.get_mut(n) {
            *stats = Arc::new(ServerStats::new(Arc::clone(&self.wakeup), self.ruled_out.server(n)));
        }
    }

    /// The counters of a server slot.
    pub fn server(&mut self, n: usize) -> &Arc<ServerStats> {
        for slot in self.servers.len()..=n {
            let marks = self.ruled_out.server(slot);
            self.servers.push(Arc::new(ServerStats::new(Arc::clone(&self.wakeup), marks)));
        }
        &self.servers[n]
    }
}

#[cfg(test)]
mod tests {
    use super::super::backend::{Resolved, backend};
    use super::*;
    use crate::core::addr::Host;
    use crate::core::command::server_keys::ServerConfig;
    use crate::core::health::CheckConfig;
    use crate::core::settings::ProxyHeader;

    fn check(name: &str) -> Arc<Check> {
        Arc::new(Check {
            name: name.to_owned(),
            config: CheckConfig::default(),
            host: "10.0.0.1".to_owned(),
            datagrams: false,
            proxy: ProxyHeader::Off,
            tls: None,
        })
    }

    #[test]
    fn no_period_of_a_server_is_that_of_another() {
        let mut live = StatsTable::default();
        let address = |port| [ServerAddress::Ip(([10, 0, 0, 1], port).into())];
        let mut periods = Vec::new();
        let mut publish = |live: &mut StatsTable, n: usize, port, check: Option<&Arc<Check>>| {
            live.publish(Role::Regular(n), &address(port), check);
            periods.push(live.server(n).period());
        };
        publish(&mut live, 0, 80, Some(&check("a")));
        publish(&mut live, 1, 80, Some(&check("a")));
        // Other servers in the slot, with the same address or check or others.
        for (port, name) in [(80, "a"), (81, "a"), (81, "b")] {
            let before = ServerConfig { address: Some(Host::Unix("/a".into())), ..ServerConfig::default() };
            let before = backend(Role::Regular(0), &before, None, live.server(0), &Resolved::new());
            live.remove(0, Arc::new(before.unwrap()));
            publish(&mut live, 0, port, Some(&check(name)));
        }
        // The same server with another address, another check, none, and one again.
        publish(&mut live, 0, 82, Some(&check("b")));
        publish(&mut live, 0, 82, Some(&check("c")));
        publish(&mut live, 0, 82, None);
        publish(&mut live, 0, 82, Some(&check("c")));
        let mut different = periods.clone();
        different.sort_unstable();
        different.dedup();
        assert_eq!(different.len(), 9, "{periods:?}");
        let same = live.server(0).period();
        live.publish(Role::Regular(0), &address(82), Some(&check("c")));
        assert_eq!(live.server(0).period(), same);
    }
}
