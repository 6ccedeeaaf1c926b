//! The entries of pen's log that a line may still match: those within the jitter.

use std::collections::VecDeque;
use std::collections::btree_map::{BTreeMap, Entry, OccupiedEntry};

use crate::weblog::entry::LoggedClient;
use crate::weblog::key::{KeyMap, RequestKey};

/// Entries by server and request. Each is used once. Every operation takes at most logarithmic time.
pub(super) struct EntryWindow {
    jitter: i64,
    /// Entries before this are too old for any further line.
    horizon: i64,
    groups: KeyMap<EntryGroup>,
    /// The number of groups at which old ones are swept.
    sweep_at: usize,
    /// Empty queues for reuse.
    spare: Vec<LoggedClients>,
}

/// The clients of one second, in the order of their entries.
type LoggedClients = VecDeque<LoggedClient>;

/// The entries of one key. Most keys have one.
enum EntryGroup {
    One(i64, LoggedClient),
    Many(Box<Seconds>),
}

/// The entries of one key by their second; no queue is empty except possibly the newest.
#[derive(Default)]
struct Seconds {
    /// The latest second that was ever added to; usually the next entry is added to it too.
    newest: (i64, LoggedClients),
    others: BTreeMap<i64, LoggedClients>,
}

/// The minimum number of groups for a sweep.
const SWEEP_LEAST: usize = 4096;

/// The maximum number of spare queues.
const SPARE: usize = 1024;

impl EntryWindow {
    /// An empty window for entries at most `jitter` seconds away from their lines.
    pub(super) fn new(jitter: i64) -> EntryWindow {
        EntryWindow {
            jitter,
            horizon: i64::MIN,
            groups: KeyMap::default(),
            sweep_at: SWEEP_LEAST,
            spare: Vec::new(),
        }
    }

    /// Adds an entry.
    pub(super) fn add(&mut self, key: RequestKey, epoch: i64, client: LoggedClient) {
        if epoch < self.horizon {
            return;
        }
        let (horizon, spare) = (self.horizon, &mut self.spare);
        self.groups
            .entry(key)
            .and_modify(|group| group.add(epoch, client, horizon, spare))
            .or_insert(EntryGroup::One(epoch, client));
        if self.groups.len() >= self.sweep_at {
            self.groups.retain(|_, group| group.newest() >= horizon);
            self.sweep_at = SWEEP_LEAST.max(self.groups.len() * 2);
        }
    }

    /// Declares that no line before `epoch` will be looked up, except for late ones.
    pub(super) fn advance(&mut self, epoch: i64) {
        self.horizon = self.horizon.max(epoch.saturating_sub(self.jitter));
    }

    /// Removes the entry nearest to a line of time `epoch`: the older of two that are equally near, and the first added
    /// of several at the same time.
    pub(super) fn take(&mut self, key: RequestKey, epoch: i64) -> Option<LoggedClient> {
        let group = self.groups.get_mut(&key)?;
        let (client, is_empty) = match group {
            EntryGroup::One(at, client) => (within(*at, epoch, self.jitter).then_some(*client)?, true),
            EntryGroup::Many(seconds) => {
                (seconds.take_nearest(epoch, self.jitter, &mut self.spare)?, seconds.is_empty())
            }
        };
        if is_empty {
            self.groups.remove(&key);
        }
        Some(client)
    }

    /// The number of entries, including old ones not yet swept.
    #[cfg(test)]
    fn len(&self) -> usize {
        let count = |group: &EntryGroup| match group {
            EntryGroup::One(..) => 1,
            EntryGroup::Many(seconds) => {
                seconds.newest.1.len() + seconds.others.values().map(VecDeque::len).sum::<usize>()
            }
        };
        self.groups.values().map(count).sum()
    }
}

fn within(at: i64, epoch: i64, jitter: i64) -> bool {
    at.abs_diff(epoch) <= jitter.unsigned_abs()
}

impl Seconds {
    fn push(&mut self, epoch: i64, client: LoggedClient, spare: &mut Vec<LoggedClients>) {
        if epoch == self.newest.0 {
            return self.newest.1.push_back(client);
        }
        if epoch < self.newest.0 {
            let clients = self.others.entry(epoch).or_insert_with(|| spare.pop().unwrap_or_default());
            return clients.push_back(client);
        }
        let (before, clients) = std::mem::replace(&mut self.newest, (epoch, spare.pop().unwrap_or_default()));
        if clients.is_empty() {
            recycle(clients, spare)
        } else {
            _ = self.others.insert(before, clients)
        }
        self.newest.1.push_back(client);
    }

    /// Removes the first entry of the second nearest to `epoch`; the older of two that are equally near.
    fn take_nearest(
        &mut self,
        epoch: i64,
        jitter: i64,
        spare: &mut Vec<LoggedClients>,
    ) -> Option<LoggedClient> {
        // Most lines have an entry in their own second.
        if let Entry::Occupied(second) = self.others.entry(epoch) {
            return take_first(second, spare);
        }
        let newest = Some(self.newest.0).filter(|_| !self.newest.1.is_empty());
        let at = self.nearest(epoch, newest).filter(|&at| within(at, epoch, jitter))?;
        if Some(at) == newest {
            return self.newest.1.pop_front();
        }
        let Entry::Occupied(second) = self.others.entry(at) else { return None };
        take_first(second, spare)
    }

    fn nearest(&self, epoch: i64, newest: Option<i64>) -> Option<i64> {
        let before = self.others.range(..epoch).next_back().map(|(&at, _)| at);
        let after = self.others.range(epoch..).next().map(|(&at, _)| at);
        [before, after, newest].into_iter().flatten().min_by_key(|&at| (at.abs_diff(epoch), at))
    }

    /// Drops entries before `horizon`.
    fn forget(&mut self, horizon: i64, spare: &mut Vec<LoggedClients>) {
        while self.others.first_key_value().is_some_and(|(&at, _)| at < horizon)
            && let Some((_, clients)) = self.others.pop_first()
        {
            recycle(clients, spare);
        }
    }

    fn newest(&self) -> i64 {
        let others = self.others.last_key_value().map_or(i64::MIN, |(&at, _)| at);
        if self.newest.1.is_empty() { others } else { self.newest.0 }
    }

    fn is_empty(&self) -> bool {
        self.newest.1.is_empty() && self.others.is_empty()
    }
}

fn take_first(
    mut second: OccupiedEntry<'_, i64, LoggedClients>,
    spare: &mut Vec<LoggedClients>,
) -> Option<LoggedClient> {
    let client = second.get_mut().pop_front();
    if second.get().is_empty() {
        recycle(second.remove(), spare);
    }
    client
}

fn recycle(mut clients: LoggedClients, spare: &mut Vec<LoggedClients>) {
    if spare.len() < SPARE {
        clients.clear();
        spare.push(clients);
    }
}

impl EntryGroup {
    fn add(&mut self, epoch: i64, client: LoggedClient, horizon: i64, spare: &mut Vec<LoggedClients>) {
        match self {
            EntryGroup::One(at, _) if *at < horizon => *self = EntryGroup::One(epoch, client),
            EntryGroup::One(at, other) => {
                let mut seconds = Box::<Seconds>::default();
                seconds.push(*at, *other, spare);
                seconds.push(epoch, client, spare);
                *self = EntryGroup::Many(seconds);
            }
            EntryGroup::Many(seconds) => {
                seconds.forget(horizon, spare);
                seconds.push(epoch, client, spare);
            }
        }
    }

    fn newest(&self) -> i64 {
        match self {
            EntryGroup::One(at, _) => *at,
            EntryGroup::Many(seconds) => seconds.newest(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weblog::key::{KeyMaker, ServerName};
    use proptest::prelude::*;
    use std::net::IpAddr;

    proptest! {
        /// Entries are added and lines looked up in random order; the model is a plain list.
        #[test]
        fn agrees_with_the_model(
            steps in prop::collection::vec((prop::bool::ANY, 0_u8..3, 0_i64..60), 0..150),
            jitter in 0_i64..20,
        ) {
            let keys = KeyMaker::default().server(&ServerName::Other("a"));
            let (mut window, mut model) = (EntryWindow::new(jitter), Vec::<(u8, i64, u8)>::new());
            for (n, (is_entry, k, epoch)) in steps.into_iter().enumerate() {
                let key = keys.key(&[k]);
                let n = n as u8;
                if is_entry {
                    window.add(key, epoch, Some([10, 0, 0, n].into()));
                    model.push((k, epoch, n));
                    model.sort_by_key(|e| e.1);
                } else {
                    let best = model.iter().enumerate().filter(|(_, e)| e.0 == k && e.1.abs_diff(epoch) <= jitter as u64);
                    let best = best.min_by_key(|(_, e)| (e.1.abs_diff(epoch), e.1)).map(|(i, _)| i);
                    let wanted = best.map(|i| Some(IpAddr::from([10, 0, 0, model.remove(i).2])));
                    prop_assert_eq!(window.take(key, epoch), wanted);
                }
                prop_assert_eq!(window.len(), model.len());
            }
        }

        /// Entries beyond the horizon are dropped, and entries that may still match are kept.
        #[test]
        fn memory_is_bounded_and_matches_are_kept(requests in 1_u32..20_000) {
            let keys = KeyMaker::default().server(&ServerName::Other("a"));
            let mut window = EntryWindow::new(10);
            for n in 0..requests {
                let epoch = i64::from(n / 100);
                window.advance(epoch);
                window.add(keys.key(&n.to_ne_bytes()), epoch, None);
            }
            prop_assert!(window.len() <= 2 * SWEEP_LEAST);
            let last = i64::from((requests - 1) / 100);
            for n in requests.saturating_sub(1000)..requests {
                prop_assert_eq!(window.take(keys.key(&n.to_ne_bytes()), last), Some(None));
            }
        }

        /// Old entries of one key that is never looked up are dropped too.
        #[test]
        fn identical_requests_take_no_more_memory_than_the_window(requests in 1_u32..20_000) {
            let key = KeyMaker::default().server(&ServerName::Other("a")).key(b"GET /");
            let mut window = EntryWindow::new(10);
            for n in 0..requests {
                let epoch = i64::from(n / 100);
                window.advance(epoch);
                window.add(key, epoch, None);
            }
            prop_assert!(window.len() <= 1100);
        }
    }
}
