//! Limits per client: connections at a time, and new connections in a period.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

use super::begins::Begins;
use crate::core::Millis;
use crate::core::affinity::Client;

/// The number of shards of the table, each with its own lock.
const SHARDS: usize = 16;
/// Clients without a connection that a shard keeps for their rate: about 20 MB in all, and 55 MB if each of them has begun
/// connections at many different times.
const REMEMBERED: usize = 8192;
/// How many idle clients are examined for removal when a new one comes.
const SWEEP: usize = 4;

/// The limits for each client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Connections at a time, 0 for any number.
    pub connections: u32,
    /// Connections that begin within `period`, 0 for any number.
    pub rate: u32,
    /// The period that `rate` refers to.
    pub period: Millis,
}

/// The limit that a client has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limited {
    /// Connections at a time.
    Connections,
    /// New connections in a period.
    Rate,
}

/// What a client has used of its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClientUsage {
    /// The connections that it has.
    pub connections: u32,
    /// Those that began within the period.
    pub begun: u64,
}

impl Allowance {
    /// The limit that another connection of a client would exceed.
    pub fn reached(self, usage: ClientUsage) -> Option<Limited> {
        if self.connections != 0 && usage.connections >= self.connections {
            Some(Limited::Connections)
        } else if self.rate != 0 && usage.begun >= u64::from(self.rate) {
            Some(Limited::Rate)
        } else {
            None
        }
    }
}

/// The current and recent connections of a client.
#[derive(Debug, Default)]
struct Usage {
    connections: u32,
    /// Those that began within the period. They are counted without a limit too: one may be set.
    begins: Begins,
}

#[derive(Debug, Default)]
struct Shard {
    clients: HashMap<Client, Usage>,
    /// Clients whose last connection has ended, in that order, each with the time when its newest one began.
    idle: VecDeque<(Client, Millis)>,
}

impl Shard {
    /// Removes some clients that have no connection and whose rate has fallen to zero.
    fn sweep(&mut self, now: Millis, period: Millis) {
        for _ in 0..SWEEP {
            let Some((client, newest)) = self.idle.front().copied() else { return };
            let is_old = |newest: Millis| now.saturating_sub(newest) > period;
            let crowded = self.idle.len() > REMEMBERED;
            if !is_old(newest) && !crowded {
                return;
            }
            self.idle.pop_front();
            // It may have come back and left again.
            let gone = |usage: &Usage| usage.connections == 0 && (crowded || is_old(usage.begins.newest()));
            if self.clients.get(&client).is_some_and(gone) {
                self.clients.remove(&client);
            }
        }
    }
}

/// The connections of every client. The counts are exact, and independent of the table that remembers clients' servers.
#[derive(Debug)]
pub struct ClientLimits {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    /// When a connection was last refused.
    last_refused: AtomicU64,
}

impl Default for ClientLimits {
    fn default() -> Self {
        ClientLimits {
            shards: Default::default(),
            hasher: RandomState::new(),
            last_refused: AtomicU64::new(0),
        }
    }
}

impl ClientLimits {
    fn shard(&self, client: Client) -> &Mutex<Shard> {
        &self.shards[self.hasher.hash_one(client) as usize % SHARDS]
    }

    /// Counts a connection of `client` that begins at `now`, until the slot is dropped.
    ///
    /// # Errors
    /// The limit that the client has reached.
    pub fn begin(
        self: &Arc<Self>,
        client: Client,
        allowed: Allowance,
        now: Millis,
    ) -> Result<ClientSlot, Limited> {
        let mut shard = self.shard(client).lock();
        shard.sweep(now, allowed.period);
        let usage = shard.clients.entry(client).or_default();
        let rate = if allowed.rate == 0 { u32::MAX } else { allowed.rate };
        let limited = if allowed.connections != 0 && usage.connections >= allowed.connections {
            Some(Limited::Connections)
        } else if !usage.begins.admit(now, allowed.period, rate) {
            Some(Limited::Rate)
        } else {
            None
        };
        if let Some(limited) = limited {
            self.last_refused.store(now, Relaxed);
            return Err(limited);
        }
        usage.connections += 1;
        Ok(ClientSlot { limits: Arc::clone(self), client })
    }

    /// What `client` has used of its limits at `now`, without counting anything.
    pub fn usage(&self, client: Client, period: Millis, now: Millis) -> ClientUsage {
        let shard = self.shard(client).lock();
        shard.clients.get(&client).map_or_else(ClientUsage::default, |usage| ClientUsage {
            connections: usage.connections,
            begun: usage.begins.count(now, period),
        })
    }

    /// The connections that `client` has.
    pub fn connections(&self, client: Client) -> u32 {
        self.shard(client).lock().clients.get(&client).map_or(0, |usage| usage.connections)
    }

    /// How long ago a connection was last refused.
    pub fn calm_for(&self, now: Millis) -> Millis {
        now.saturating_sub(self.last_refused.load(Relaxed))
    }
}

/// A connection of a client.
#[derive(Debug)]
pub struct ClientSlot {
    limits: Arc<ClientLimits>,
    client: Client,
}

impl Drop for ClientSlot {
    fn drop(&mut self) {
        let mut shard = self.limits.shard(self.client).lock();
        let Some(usage) = shard.clients.get_mut(&self.client) else { return };
        usage.connections -= 1;
        if usage.connections == 0 {
            let newest = usage.begins.newest();
            shard.idle.push_back((self.client, newest));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    fn client(n: u32) -> Client {
        Client::new(Ipv4Addr::from(n).into())
    }

    const ANY: Allowance = Allowance { connections: 0, rate: 0, period: 1000 };

    #[test]
    fn connections_are_counted_for_each_client_and_given_back() {
        let limits = Arc::new(ClientLimits::default());
        let two = Allowance { connections: 2, ..ANY };
        // Connections that began before the limit was set count too.
        let mut held = vec![limits.begin(client(1), ANY, 0).unwrap()];
        held.push(limits.begin(client(1), two, 0).unwrap());
        assert_eq!(limits.begin(client(1), two, 0).unwrap_err(), Limited::Connections);
        held.push(limits.begin(client(2), two, 0).unwrap());
        assert_eq!(limits.connections(client(1)), 2);
        drop(held);
        assert_eq!(limits.connections(client(1)), 0);
        limits.begin(client(1), two, 0).unwrap();
    }

    #[test]
    fn the_rate_is_that_of_any_period() {
        let limits = Arc::new(ClientLimits::default());
        let allowed = Allowance { rate: 50, period: 10_000, ..ANY };
        let try_at = |now| (0..100).filter(|_| limits.begin(client(1), allowed, now).is_ok()).count();
        // One connection, and as many as possible a period later, beginning just before its end.
        assert_eq!([try_at(0), try_at(9_000)], [50, 0]);
        // What began before the limit was set counts.
        (0..60).for_each(|_| drop(limits.begin(client(4), Allowance { rate: 0, ..allowed }, 500).unwrap()));
        assert_eq!(limits.begin(client(4), allowed, 10_500).unwrap_err(), Limited::Rate);
        limits.begin(client(4), allowed, 10_501).unwrap();
        limits.begin(client(2), allowed, 0).unwrap();
        let begins = |now: &Millis| limits.begin(client(2), allowed, *now).is_ok();
        let late = (9_000..19_000).step_by(10).filter(begins).count();
        assert_eq!(late, 49 + 1, "those from 9.0 s on, and one in place of the first");
        assert_eq!(limits.begin(client(2), allowed, 18_999).unwrap_err(), Limited::Rate);
        limits.begin(client(3), allowed, 19_000).unwrap();
    }

    #[test]
    fn a_client_is_remembered_as_long_as_it_counts() {
        let limits = Arc::new(ClientLimits::default());
        let allowed = Allowance { rate: 1, ..ANY };
        drop(limits.begin(client(1), allowed, 5_000).unwrap());
        for now in [5_000, 5_500, 6_000] {
            // Each new client has idle ones examined.
            drop(limits.begin(client(now as u32), allowed, now).unwrap());
            assert_eq!(limits.begin(client(1), allowed, now).unwrap_err(), Limited::Rate, "{now}");
        }
        limits.begin(client(1), allowed, 6_001).unwrap();
    }

    #[test]
    fn clients_that_have_gone_are_forgotten() {
        let limits = Arc::new(ClientLimits::default());
        let mut now = 0;
        for n in 0..20_000 {
            now += 10;
            drop(limits.begin(client(n), ANY, now));
        }
        let known = || limits.shards.iter().map(|s| s.lock().clients.len()).sum::<usize>();
        assert!(known() < 500, "{}", known());
        for n in 0..400_000 {
            drop(limits.begin(client(n), Allowance { period: 1_000_000, ..ANY }, now));
        }
        assert!(known() <= SHARDS * (REMEMBERED + 1), "{}", known());
    }

    proptest! {
        /// Connections begin and end at random: no client exceeds its limit, and the counts are exact.
        #[test]
        fn counts_are_exact(steps in prop::collection::vec((0u32..3, any::<prop::sample::Index>(), any::<bool>(), 0u64..700), 0..100)) {
            let limits = Arc::new(ClientLimits::default());
            let allowed = Allowance { connections: 3, rate: 5, period: 1000 };
            let mut held: Vec<(u32, ClientSlot)> = Vec::new();
            let mut now = 0;
            for (n, at, begins, pause) in steps {
                now += pause;
                if begins {
                    let usage = limits.usage(client(n), allowed.period, now);
                    let before = held.len();
                    held.extend(limits.begin(client(n), allowed, now).ok().map(|slot| (n, slot)));
                    prop_assert_eq!(held.len() > before, allowed.reached(usage).is_none(), "{:?}", usage);
                } else if !held.is_empty() {
                    drop(held.swap_remove(at.index(held.len())));
                }
                for n in 0..3 {
                    let count = held.iter().filter(|(by, _)| *by == n).count();
                    prop_assert_eq!(limits.connections(client(n)) as usize, count);
                    prop_assert!(count <= 3);
                }
            }
        }
    }
}
