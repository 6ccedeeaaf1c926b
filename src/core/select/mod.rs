//! Selection of a server, and of the next one when it fails.

pub mod explain;
mod limits_state;
mod rules;
pub mod waiting;

use super::admission::Admission;
use super::affinity::Client;
use super::backend::{Claim, Criterion, Standing};
use super::number_set::NumberSet;
use super::snapshot::{Algorithm, Backend, Role, Selectable, Snapshot};
use super::{Millis, hash};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// A server to try, with one of its connections taken; dropping this gives the connection back, which happens when both
/// sides are closed.
#[derive(Debug)]
pub struct Selected {
    /// The server.
    pub backend: Arc<Backend>,
    /// It had failed, and this connection is its trial.
    claim: Option<Claim>,
}

impl Drop for Selected {
    fn drop(&mut self) {
        if let Some(claim) = self.claim.take() {
            self.backend.stats.end_trial(claim);
        }
        self.backend.stats.release();
    }
}

/// The search for one connection's server: each call of [`Selection::next`] returns one that was not tried yet.
#[derive(Debug, Clone)]
pub struct Selection {
    snapshot: Arc<Snapshot>,
    client: Client,
    key: u64,
    remembered: Option<usize>,
    stage: Stage,
    tried: NumberSet,
    /// The servers that the client may have, where its server name decides.
    route: Option<Arc<NumberSet>>,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    /// For a denied client: the abuse server and no other.
    Abuse,
    /// Nothing was tried yet.
    First,
    /// This server has failed.
    After(usize),
    /// All available servers have failed: the emergency server is next.
    Emergency,
    /// The emergency server has failed too: servers on the blacklist are next.
    LastResort,
    Done,
}

/// What a step of the search has found.
#[derive(Debug)]
pub enum SearchStep {
    /// A server to try.
    Server(Selected),
    /// Servers that could serve the client and that have as many connections as they may. The search goes on after
    /// [`Selection::pass_over_full`].
    Full,
    /// No server that is left.
    None,
}

/// Why there is no server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoServer {
    /// The reason concerns this client alone, for example an access list of the servers.
    ForClient,
    /// All servers have reached their limit of connections.
    Full,
    /// No server works.
    Down,
}

impl Selection {
    /// Begins the search for a client that connected from `port` and last had the server `remembered`. `admission` is
    /// the decision of the same snapshot about it.
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
            Admission::Refuse | Admission::Tarpit => Stage::Done,
        };
        let policy = snapshot.policy;
        // With round robin clients are not remembered, and the hash distinguishes connections by their port.
        let key = hash::client(client.masked(snapshot.client_mask), if policy.hash_port { port } else { 0 });
        let remembered = remembered.filter(|_| policy.affinity);
        Selection { snapshot, client, key, remembered, stage, tried: NumberSet::default(), route: None }
    }

    /// Excludes a server from this search, although it is not known to fail.
    pub fn exclude(&mut self, server: usize) {
        self.tried.insert(server);
        self.remembered = self.remembered.filter(|n| *n != server);
    }

    /// Of the regular servers, the client may have only these.
    pub fn restrict(&mut self, servers: &Arc<NumberSet>) {
        self.remembered = self.remembered.filter(|n| servers.contains(*n));
        self.route = Some(Arc::clone(servers));
    }

    /// Whether the client may have the server, as far as its server name decides.
    fn is_on_route(&self, n: usize) -> bool {
        self.route.as_ref().is_none_or(|servers| servers.contains(n))
    }

    /// The client.
    pub fn client(&self) -> Client {
        self.client
    }

    /// The next server to try at `now`; on `None` the connection is closed.
    pub fn next(&mut self, now: Millis) -> Option<Selected> {
        match self.advance(now, false) {
            SearchStep::Server(selected) => Some(selected),
            SearchStep::Full | SearchStep::None => None,
        }
    }

    /// The same for a client that may wait for a place.
    pub fn step(&mut self, now: Millis) -> SearchStep {
        self.advance(now, true)
    }

    /// The next server to try, or [`SearchStep::Full`] for a client that `waits` rather than have one of a later stage.
    fn advance(&mut self, now: Millis, waits: bool) -> SearchStep {
        loop {
            let (selected, then) = match self.stage {
                Stage::Done => return SearchStep::None,
                Stage::Abuse => (special(self.snapshot.abuse.as_ref()), Stage::Done),
                Stage::First | Stage::After(_) => (self.regular(now), self.after_regular()),
                Stage::Emergency => (special(self.snapshot.emergency.as_ref()), Stage::LastResort),
                Stage::LastResort => (self.last_resort(now), Stage::Done),
            };
            if let Some(selected) = selected {
                self.stage = self.chosen(&selected);
                return SearchStep::Server(selected);
            }
            if waits && self.wants_regular() && self.is_held_up(now) {
                return SearchStep::Full;
            }
            self.stage = then;
        }
    }

    /// Whether the search has not yet passed the regular servers, which have limits.
    pub fn wants_regular(&self) -> bool {
        matches!(self.stage, Stage::First | Stage::After(_))
    }

    /// Skips the full servers, since the client does not wait for one: the emergency server is next, if there is one.
    pub fn pass_over_full(&mut self) {
        if self.wants_regular() {
            self.stage = self.after_regular();
        }
    }

    /// A server that is available, in the stages that look for one.
    fn regular(&mut self, now: Millis) -> Option<Selected> {
        match self.stage {
            Stage::First => self.first(now),
            Stage::After(last) => self.search(now, Some(last)),
            _ => None,
        }
    }

    /// What follows where none is.
    fn after_regular(&self) -> Stage {
        if self.snapshot.policy.stubborn { Stage::Done } else { Stage::Emergency }
    }

    /// The server could not be reached and is blacklisted. True if it was not on the blacklist before.
    pub fn failed(&self, selected: &Selected, now: Millis) -> bool {
        let stats = &selected.backend.stats;
        match selected.backend.role {
            Role::Regular(_) => stats.fails(now, self.snapshot.blacklist, self.snapshot.fail_max),
            Role::Emergency | Role::Abuse => {
                stats.count_failure();
                false
            }
        }
    }

    /// Whether the client will be sent back to this server.
    pub fn remembers(&self, selected: &Selected) -> Option<usize> {
        match selected.backend.role {
            Role::Regular(n) if self.snapshot.policy.affinity => Some(n),
            _ => None,
        }
    }

    /// Why there is no server for this client.
    pub fn why_none(&self, now: Millis) -> NoServer {
        let stubborn = self.snapshot.policy.stubborn;
        let servers = &self.snapshot.selectable;
        let is_any = |criterion| servers.meeting(criterion, &servers.for_all, now).next().is_some();
        // With a route, others than those that were tried in vain may work.
        let all_tried = self.route.is_none() && !stubborn && !self.tried.is_empty();
        if all_tried || !is_any(Criterion::Working) {
            NoServer::Down
        } else if !is_any(Criterion::PlaceForNew) && !is_any(Criterion::PlaceUnproven) {
            NoServer::Full
        } else {
            NoServer::ForClient
        }
    }

    /// The client's own server, whether it is available or not.
    fn first_choice(&self, now: Millis) -> Option<usize> {
        self.remembered.or_else(|| {
            // The hash gives each client its own server.
            let policy = self.snapshot.policy;
            let hashed = policy.stubborn && policy.algorithm == Algorithm::Hash;
            if hashed { self.by_hash((Criterion::Up, now), |n, b| self.is_in_service(n, b)) } else { None }
        })
    }

    /// The admission of the client, for a search that has not begun.
    fn admission(&self) -> Admission {
        match self.stage {
            Stage::Abuse => Admission::Abuse,
            Stage::Done => Admission::Refuse,
            _ => Admission::Admit,
        }
    }

    /// Whether [`Selection::attempt`] would take a connection of this server.
    fn can_attempt(&self, n: usize, now: Millis) -> bool {
        let backend = self.snapshot.backends.get(n).and_then(Option::as_ref);
        backend.is_some_and(|backend| self.is_available(n, backend, now))
    }

    /// Whether [`Selection::retry`] would take a connection of this server.
    fn can_retry(&self, n: usize, now: Millis) -> bool {
        let backend = self.snapshot.backends.get(n).and_then(Option::as_ref);
        backend.is_some_and(|backend| {
            let failed = matches!(backend.stats.standing(now), Standing::Failed(_) | Standing::Trial);
            failed && self.may_serve(n, backend, now)
        })
    }

    /// The client's first server.
    fn first(&mut self, now: Millis) -> Option<Selected> {
        let stubborn = self.snapshot.policy.stubborn;
        let Some(n) = self.first_choice(now) else {
            let found = self.search(now, None);
            return if stubborn { found.or_else(|| self.last_resort(now)) } else { found };
        };
        match self.attempt(n, now) {
            None if stubborn => self.retry(n, now),
            None => self.search(now, Some(n)),
            selected => selected,
        }
    }

    /// The client will be connected to this server. Returns the stage that follows if it fails.
    fn chosen(&mut self, selected: &Selected) -> Stage {
        let policy = self.snapshot.policy;
        let n = match selected.backend.role {
            Role::Regular(n) => n,
            Role::Emergency => return Stage::LastResort,
            Role::Abuse => return Stage::Done,
        };
        // A client that is sent back to its server advances no turn, as in C pen.
        let returned = matches!(self.stage, Stage::First) && self.remembered == Some(n);
        if !returned {
            if self.snapshot.slowstart > 0 {
                self.snapshot.turns.next_lot();
            }
            self.snapshot.cursor.store(n, Relaxed);
            let weight = match policy.algorithm {
                Algorithm::Prio => Some(1),
                Algorithm::Weight => Some(selected.backend.weight),
                Algorithm::Hash | Algorithm::RoundRobin => None,
            };
            if let Some(weight) = weight {
                self.snapshot.turns.take(&selected.backend.stats, weight);
            }
        }
        self.tried.insert(n);
        match self.stage {
            _ if policy.stubborn => Stage::Done,
            Stage::First | Stage::After(_) => Stage::After(n),
            stage => stage,
        }
    }

    /// Takes a connection of a server if it is available.
    fn attempt(&self, n: usize, now: Millis) -> Option<Selected> {
        if !self.can_attempt(n, now) {
            return None;
        }
        let backend = self.snapshot.backends.get(n)?.as_ref()?;
        let mut selected = take(backend, self.limit(n, backend, now))?;
        selected.claim = backend.stats.admit(now, now.saturating_add(self.snapshot.trial))?;
        Some(selected)
    }

    /// The same for a server that is on the blacklist because it failed.
    fn retry(&self, n: usize, now: Millis) -> Option<Selected> {
        if !self.can_retry(n, now) {
            return None;
        }
        let backend = self.snapshot.backends.get(n)?.as_ref()?;
        take(backend, self.limit(n, backend, now))
    }

    /// Of the servers that failed and were not tried for this client, the one whose time on the blacklist ends first.
    /// When no other server can serve the client there is nothing to lose, and a server that was away for a moment
    /// serves again as soon as it can.
    fn last_resort(&self, now: Millis) -> Option<Selected> {
        // Servers whose last connection was taken by another thread in the meantime.
        let mut lost = NumberSet::default();
        loop {
            let n = self.first_to_return(now, &lost)?;
            if let Some(selected) = self.retry(n, now) {
                return Some(selected);
            }
            lost.insert(n);
        }
    }

    /// The number of the same server, without taking a connection; none of `lost`.
    fn first_to_return(&self, now: Millis, lost: &NumberSet) -> Option<usize> {
        let end = |one: &Selectable| match one.stats.standing(now) {
            Standing::Failed(until) => until,
            // A connection is trying it.
            _ => 0,
        };
        self.best(
            (Criterion::Transition, now),
            end,
            |end, best| end < best,
            |n, _| !lost.contains(n) && self.can_retry(n, now),
        )
    }
}

/// Selects a server to which the rules of selection do not apply.
fn special(backend: Option<&Arc<Backend>>) -> Option<Selected> {
    take(backend.filter(|b| !b.addresses.is_empty())?, None)
}

/// Takes one of a server's connections.
fn take(backend: &Arc<Backend>, limit: Option<u32>) -> Option<Selected> {
    backend.stats.acquire(limit).then(|| Selected { backend: Arc::clone(backend), claim: None })
}

#[cfg(test)]
mod tests;
