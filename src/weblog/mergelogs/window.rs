//! The entries of pen's log that a line may still match: those within the jitter.

use std::collections::VecDeque;
use std::net::IpAddr;

use super::super::key::{Key, KeyMap};

/// A client, as pen's entry gives it: `None` came over a Unix-domain socket.
pub(super) type Client = Option<IpAddr>;

/// Entries by server and request. Each is given out once.
pub(super) struct Window {
    jitter: i64,
    /// Entries before this are too old for any line to come.
    horizon: i64,
    groups: KeyMap<Group>,
    /// When there are so many groups, it is time to look for old ones.
    sweep_at: usize,
}

/// The entries of one key, by time. Most keys have one.
enum Group {
    One(i64, Client),
    Many(VecDeque<(i64, Client)>),
}

/// Fewest groups that are worth a sweep.
const SWEEP_LEAST: usize = 4096;

impl Window {
    /// An empty window for entries at most `jitter` seconds from their lines.
    pub(super) fn new(jitter: i64) -> Window {
        Window { jitter, horizon: i64::MIN, groups: KeyMap::default(), sweep_at: SWEEP_LEAST }
    }

    /// Adds an entry.
    pub(super) fn add(&mut self, key: Key, epoch: i64, client: Client) {
        if epoch < self.horizon {
            return;
        }
        let horizon = self.horizon;
        self.groups
            .entry(key)
            .and_modify(|group| group.add(epoch, client, horizon))
            .or_insert(Group::One(epoch, client));
        if self.groups.len() >= self.sweep_at {
            self.groups.retain(|_, group| group.newest() >= horizon);
            self.sweep_at = SWEEP_LEAST.max(self.groups.len() * 2);
        }
    }

    /// From now on no line before `epoch` is looked for, but some that are late.
    pub(super) fn advance(&mut self, epoch: i64) {
        self.horizon = self.horizon.max(epoch.saturating_sub(self.jitter));
    }

    /// Takes the entry nearest to a line of time `epoch`; of two as near, the older; of several at the same time, the
    /// one added first.
    pub(super) fn take(&mut self, key: Key, epoch: i64) -> Option<Client> {
        let group = self.groups.get_mut(&key)?;
        let near = |at: i64| at.abs_diff(epoch) <= self.jitter.unsigned_abs();
        match group {
            Group::One(at, client) => {
                let client = near(*at).then_some(*client)?;
                self.groups.remove(&key);
                Some(client)
            }
            Group::Many(list) => {
                let after = list.partition_point(|e| e.0 <= epoch);
                let gap = |i: usize| list.get(i).map(|e| e.0.abs_diff(epoch));
                let before = after.checked_sub(1).map(|last| list.partition_point(|e| e.0 < list[last].0));
                let best = match (before, gap(after)) {
                    (Some(before), Some(later)) if gap(before) > Some(later) => after,
                    (Some(before), _) => before,
                    (None, _) => after,
                };
                if !near(list.get(best)?.0) {
                    return None;
                }
                let taken = list.remove(best).map(|e| e.1);
                if list.is_empty() {
                    self.groups.remove(&key);
                }
                taken
            }
        }
    }

    /// How many entries there are, old ones that were not swept yet among them.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.groups.values().map(|group| if let Group::Many(list) = group { list.len() } else { 1 }).sum()
    }
}

impl Group {
    fn add(&mut self, epoch: i64, client: Client, horizon: i64) {
        match self {
            Group::One(at, _) if *at < horizon => *self = Group::One(epoch, client),
            Group::One(at, other) => {
                let mut list = VecDeque::from([(*at, *other)]);
                insert(&mut list, epoch, client);
                *self = Group::Many(list);
            }
            Group::Many(list) => {
                while list.front().is_some_and(|e| e.0 < horizon) {
                    list.pop_front();
                }
                insert(list, epoch, client);
            }
        }
    }

    fn newest(&self) -> i64 {
        match self {
            Group::One(at, _) => *at,
            Group::Many(list) => list.back().map_or(i64::MIN, |e| e.0),
        }
    }
}

/// pen's log is in order but for some moments at most: the place is at the end or near it.
fn insert(list: &mut VecDeque<(i64, Client)>, epoch: i64, client: Client) {
    let mut at = list.len();
    while at > 0 && list[at - 1].0 > epoch {
        at -= 1;
    }
    list.insert(at, (epoch, client));
}

#[cfg(test)]
mod tests {
    use super::super::super::key::{Keys, Server};
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Entries are added and lines looked up in any order; the model is a plain list.
        #[test]
        fn agrees_with_the_model(
            steps in prop::collection::vec((prop::bool::ANY, 0_u8..3, 0_i64..60), 0..150),
            jitter in 0_i64..20,
        ) {
            let keys = Keys::default();
            let (mut window, mut model) = (Window::new(jitter), Vec::<(u8, i64, u8)>::new());
            for (n, (is_entry, k, epoch)) in steps.into_iter().enumerate() {
                let key = keys.key(&Server::Name("a"), &[k]);
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

        /// What passes the horizon goes, what may still match stays.
        #[test]
        fn memory_is_bounded_and_matches_are_kept(requests in 1_u32..20_000) {
            let keys = Keys::default();
            let mut window = Window::new(10);
            for n in 0..requests {
                let epoch = i64::from(n / 100);
                window.advance(epoch);
                window.add(keys.key(&Server::Name("a"), &n.to_ne_bytes()), epoch, None);
            }
            prop_assert!(window.len() <= 2 * SWEEP_LEAST);
            let last = i64::from((requests - 1) / 100);
            for n in requests.saturating_sub(1000)..requests {
                prop_assert_eq!(window.take(keys.key(&Server::Name("a"), &n.to_ne_bytes()), last), Some(None));
            }
        }
    }
}
