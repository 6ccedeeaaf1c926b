//! How a server is chosen, and which comes next when it fails.

use super::Millis;
use super::addr::Host;
use super::admission::Admission;
use super::affinity::Client;
use super::backend::ServerSlot;
use super::number_set::NumberSet;
use super::snapshot::{Algorithm, Backend, Role, Snapshot};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// A server to try, with one of its connections taken.
#[derive(Debug)]
pub struct Selected {
    /// The server.
    pub backend: Arc<Backend>,
    /// Its connection, given back when dropped.
    pub slot: ServerSlot,
}

/// The search for one connection's server: each call of [`Selection::next`] names one that was not tried yet.
#[derive(Debug)]
pub struct Selection {
    snapshot: Arc<Snapshot>,
    client: Client,
    key: u64,
    remembered: Option<usize>,
    stage: Stage,
    tried: NumberSet,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    /// For a client that is denied: the abuse server and no other.
    Abuse,
    First,
    After(usize),
    Done,
}

impl Selection {
    /// Begins the search for a client that connected from `port` and that last had the server `remembered`. `admission` is what
    /// the same snapshot says of it.
    pub fn new(
        snapshot: Arc<Snapshot>,
        client: Client,
        port: u16,
        remembered: Option<usize>,
        admission: Admission,
    ) -> Self {
        let stage = match admission {
            Admission::Admit => Stage::First,
            Admission::Abuse => Stage::Abuse,
            Admission::Refuse => Stage::Done,
        };
        let policy = snapshot.policy;
        // With round robin no client is remembered, and the hash tells connections apart by their port.
        let key = hash_client(client, if policy.hash_port { port } else { 0 });
        let remembered = remembered.filter(|_| policy.affinity);
        Selection { snapshot, client, key, remembered, stage, tried: NumberSet::default() }
    }

    /// Who is to be served.
    pub fn client(&self) -> Client {
        self.client
    }

    /// The next server to try at `now`; `None` closes the connection.
    pub fn next(&mut self, now: Millis) -> Option<Selected> {
        let first = match self.stage {
            Stage::Done => return None,
            Stage::After(_) if self.snapshot.policy.stubborn => None,
            Stage::After(last) => {
                self.tried.insert(last);
                self.search(now, Some(last))
            }
            Stage::Abuse => {
                self.stage = Stage::Done;
                return special(self.snapshot.abuse.as_ref());
            }
            Stage::First => match self.remembered {
                None => self.search(now, None),
                Some(n) => match self.attempt(n, now) {
                    None if self.snapshot.policy.stubborn => None,
                    None => {
                        self.tried.insert(n);
                        self.search(now, Some(n))
                    }
                    selected => selected,
                },
            },
        };
        match first {
            Some(selected) => {
                if let Role::Regular(n) = selected.backend.role {
                    // A client that is sent back takes nobody's turn, as in C pen.
                    let returned = matches!(self.stage, Stage::First) && self.remembered == Some(n);
                    if !returned {
                        self.snapshot.cursor.store(n, Relaxed);
                    }
                    self.stage = Stage::After(n);
                }
                Some(selected)
            }
            None => {
                self.stage = Stage::Done;
                if self.snapshot.policy.stubborn { None } else { special(self.snapshot.emergency.as_ref()) }
            }
        }
    }

    /// A connection to the server was made.
    pub fn succeeded(&self, selected: &Selected) {
        selected.backend.stats.blacklist_until(0);
    }

    /// The server could not be reached: it is left out for a while.
    pub fn failed(&self, selected: &Selected, now: Millis) {
        if matches!(selected.backend.role, Role::Regular(_)) {
            selected.backend.stats.blacklist_until(now + self.snapshot.blacklist);
        }
    }

    /// Whether the client will be sent back to this server.
    pub fn remembers(&self, selected: &Selected) -> Option<usize> {
        match selected.backend.role {
            Role::Regular(n) if self.snapshot.policy.affinity => Some(n),
            _ => None,
        }
    }

    /// The first server by the rule in force that is not tried and gives a connection.
    fn search(&mut self, now: Millis, after: Option<usize>) -> Option<Selected> {
        loop {
            let n = self.candidate(now, after)?;
            if let Some(selected) = self.attempt(n, now) {
                return Some(selected);
            }
            let hashed = self.snapshot.policy.algorithm == Algorithm::Hash && after.is_none();
            self.tried.insert(n);
            if hashed && self.snapshot.policy.stubborn {
                return None;
            }
        }
    }

    fn candidate(&self, now: Millis, after: Option<usize>) -> Option<usize> {
        let snapshot = &*self.snapshot;
        let untried = || {
            let all = snapshot.backends.iter().enumerate();
            all.filter_map(|(n, b)| b.as_ref().map(|b| (n, b))).filter(|(n, _)| !self.tried.contains(*n))
        };
        let available = || untried().filter(|(n, b)| self.available(*n, b, now));
        let chosen = match snapshot.policy.algorithm {
            Algorithm::Prio => available().min_by_key(|(_, b)| b.prio),
            // a/b < c/d as a*d < c*b, exact in 64 bits
            Algorithm::Weight => available().filter(|(_, b)| b.weight > 0).min_by(|(_, a), (_, b)| {
                let load = |x: &Backend, y: &Backend| u64::from(x.stats.connections()) * u64::from(y.weight);
                load(a, b).cmp(&load(b, a))
            }),
            Algorithm::Hash => untried().max_by_key(|(_, b)| mix(b.identity ^ self.key)),
            Algorithm::RoundRobin => {
                let last = after.unwrap_or_else(|| snapshot.cursor.load(Relaxed));
                let count = snapshot.backends.len();
                let turn = (1..=count).map(|step| (last.wrapping_add(step)) % count);
                turn.filter_map(|n| snapshot.backends[n].as_ref().map(|b| (n, b)))
                    .find(|(n, b)| !self.tried.contains(*n) && self.available(*n, b, now))
            }
        };
        chosen.map(|(n, _)| n)
    }

    fn available(&self, n: usize, backend: &Backend, now: Millis) -> bool {
        !backend.addresses.is_empty()
            && backend.stats.blacklisted_for(now) == 0
            && self.snapshot.acls[backend.acl].permits(self.client.ip())
            && self.limit(n, backend).is_none_or(|limit| backend.stats.connections() < limit)
    }

    fn limit(&self, n: usize, backend: &Backend) -> Option<u32> {
        match backend.max {
            0 => None,
            max if self.remembered == Some(n) => Some(max.max(backend.hard)),
            max => Some(max),
        }
    }

    fn attempt(&self, n: usize, now: Millis) -> Option<Selected> {
        let backend = self.snapshot.backends.get(n)?.as_ref()?;
        if !self.available(n, backend, now) {
            return None;
        }
        let slot = backend.stats.acquire(self.limit(n, backend))?;
        Some(Selected { backend: Arc::clone(backend), slot })
    }
}

fn special(backend: Option<&Arc<Backend>>) -> Option<Selected> {
    let backend = backend.filter(|b| !b.addresses.is_empty())?;
    let slot = backend.stats.acquire(None)?;
    Some(Selected { backend: Arc::clone(backend), slot })
}

// Rendezvous hashing (Thaler and Ravishankar, 1998): each server's score for a client depends on the two alone, and the best
// score wins; so when a server comes or goes only the clients move that it wins or won. The functions are fixed, since two
// balancers that stand in for each other must agree, and so must a pen and its successor.

fn mix(mut x: u64) -> u64 {
    // The finaliser of splitmix64 (Steele, Lea and Flood, 2014).
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn absorb(state: u64, bytes: &[u8]) -> u64 {
    // FNV-1a, 64 bits (draft-eastlake-fnv).
    bytes.iter().fold(state, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3))
}

const SEED: u64 = 0xcbf2_9ce4_8422_2325;

fn hash_client(client: Client, port: u16) -> u64 {
    let address = match client.ip() {
        None => SEED,
        Some(IpAddr::V4(ip)) => absorb(SEED, &ip.octets()),
        Some(IpAddr::V6(ip)) => absorb(SEED, &ip.octets()),
    };
    mix(absorb(address, &port.to_be_bytes()))
}

/// What stands for a server in the hash.
pub fn identity(host: &Host, port: u16) -> u64 {
    mix(absorb(absorb(SEED, host.to_string().as_bytes()), &port.to_be_bytes()))
}

#[cfg(test)]
mod tests;
