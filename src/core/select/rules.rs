//! The rules for choosing the next of several servers, and the servers that they consider.

use super::{Selected, Selection};
use crate::core::backend::WHOLE;
use crate::core::health::Health;
use crate::core::number_set::NumberSet;
use crate::core::settings::AdminState;
use crate::core::snapshot::{Algorithm, Backend, Selectable};
use crate::core::{Millis, hash};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

impl Selection {
    /// The first untried available server by the rule in force.
    pub(super) fn search(&self, now: Millis, after: Option<usize>) -> Option<Selected> {
        // Servers whose last connection, or trial, was taken by another thread in the meantime.
        let mut lost = NumberSet::default();
        loop {
            let n = self.candidate(now, after, &lost)?;
            if let Some(selected) = self.attempt(n, now) {
                return Some(selected);
            }
            lost.insert(n);
        }
    }

    /// The number of the same server, without taking a connection; none of `lost`. Servers known to be up come first,
    /// then those without a check result.
    pub(super) fn candidate(&self, now: Millis, after: Option<usize>, lost: &NumberSet) -> Option<usize> {
        let slow = self.snapshot.slowstart > 0;
        if slow && self.remembered.is_none() {
            let warm = |n: usize, b: &Backend| {
                !lost.contains(n) && b.stats.health() != Health::Unknown && self.is_warm_enough(b, now)
            };
            let found = self.candidate_among(now, after, warm);
            if found.is_some() {
                return found;
            }
        }
        let known =
            self.candidate_among(now, after, |n, b| !lost.contains(n) && b.stats.health() != Health::Unknown);
        known.or_else(|| {
            let unknown = |n: usize, b: &Backend| !lost.contains(n) && b.stats.health() == Health::Unknown;
            // Without checks the first search has considered all servers, and a second one is not needed.
            let any = self.untried().any(|(n, b)| unknown(n, b));
            any.then(|| self.candidate_among(now, after, unknown)).flatten()
        })
    }

    pub(super) fn candidate_among(
        &self,
        now: Millis,
        after: Option<usize>,
        eligible: impl Fn(usize, &Backend) -> bool,
    ) -> Option<usize> {
        let usable = |n: usize, b: &Backend| eligible(n, b) && self.is_available(n, b, now);
        let turns = self.snapshot.turns.begin();
        let turn = |one: &Selectable| turns.place(&one.stats);
        match self.snapshot.policy.algorithm {
            Algorithm::Prio => self.best(|one| (one.prio, turn(one)), |one, best| one < best, usable),
            // a/b < c/d as a*d < c*b, exact in 64 bits
            Algorithm::Weight => self.best(
                |one| (u64::from(one.stats.connections()), u64::from(one.weight), turn(one)),
                |(used, weight, turn), (best_used, best_weight, best_turn)| {
                    (used * best_weight).cmp(&(best_used * weight)).then_with(|| turn.cmp(best_turn)).is_lt()
                },
                usable,
            ),
            Algorithm::Hash => self.by_hash(|n, b| usable(n, b)),
            Algorithm::RoundRobin => {
                let last = after.unwrap_or_else(|| self.snapshot.cursor.load(Relaxed));
                let count = self.snapshot.backends.len();
                let turn = (1..=count).map(|step| (last.wrapping_add(step)) % count);
                turn.filter_map(|n| self.snapshot.backends[n].as_ref().map(|b| (n, b)))
                    .find(|(n, b)| self.is_untried(*n) && usable(*n, b))
                    .map(|(n, _)| n)
            }
        }
    }

    /// The server that the client's hash names, among those that were not tried and fulfil `condition`.
    pub(super) fn by_hash(&self, condition: impl Fn(usize, &Backend) -> bool) -> Option<usize> {
        self.best(|one| hash::score(one.identity, self.key), |one, best| one >= best, condition)
    }

    /// The best of the servers that are not down, were not tried and fulfil `condition`; the first of several, unless `is_better` is
    /// true for equals. The condition reads several places in memory for each server, and comparing reads few: a
    /// server is asked for the condition only if it would be the best so far, which is so for a handful of thousands.
    fn best<T>(
        &self,
        value: impl Fn(&Selectable) -> T,
        is_better: impl Fn(&T, &T) -> bool,
        condition: impl Fn(usize, &Backend) -> bool,
    ) -> Option<usize> {
        let mut best: Option<(T, usize)> = None;
        for one in &self.snapshot.selectable {
            if one.stats.health() == Health::Down {
                continue;
            }
            let value = value(one);
            if best.as_ref().is_none_or(|(best, _)| is_better(&value, best))
                && self.is_untried(one.slot)
                && let Some(backend) = &self.snapshot.backends[one.slot]
                && condition(one.slot, backend)
            {
                best = Some((value, one.slot));
            }
        }
        best.map(|(_, slot)| slot)
    }

    /// The servers that were not tried for this client, by number.
    pub(super) fn untried(&self) -> impl Iterator<Item = (usize, &Arc<Backend>)> {
        let all = self.snapshot.backends.iter().enumerate();
        all.filter_map(|(n, b)| b.as_ref().map(|b| (n, b))).filter(|(n, _)| self.is_untried(*n))
    }

    /// Whether the server is one for this client, and was not tried.
    fn is_untried(&self, n: usize) -> bool {
        !self.tried.contains(n) && self.is_on_route(n)
    }

    /// Whether the server may be used for this client at `now`.
    pub(super) fn is_available(&self, n: usize, backend: &Backend, now: Millis) -> bool {
        backend.stats.standing(now).may_be_tried() && self.may_serve(n, backend, now)
    }

    /// Whether the server may be used for this client, provided that it works.
    pub(super) fn may_serve(&self, n: usize, backend: &Backend, now: Millis) -> bool {
        self.serves_with_room(n, backend)
            && self.limit(n, backend, now).is_none_or(|limit| backend.stats.connections() < limit)
    }

    /// Whether the server may be used for this client, if it works and has room.
    pub(super) fn serves_with_room(&self, n: usize, backend: &Backend) -> bool {
        let own = self.remembered == Some(n);
        let weighted = own || self.snapshot.policy.algorithm != Algorithm::Weight || backend.weight > 0;
        weighted
            && !backend.stats.is_removed()
            && self.is_in_service(n, backend)
            && !backend.addresses.is_empty()
            && self.snapshot.acls[backend.acl].permits(self.client.ip())
    }

    /// Whether a server in slow start takes this client: its share of new clients grows with time. With the hash, the
    /// same clients stay with it and more join them; other rules choose clients at random.
    pub(super) fn is_warm_enough(&self, backend: &Backend, now: Millis) -> bool {
        let share = backend.stats.share(now, self.snapshot.slowstart);
        let lot = match self.snapshot.policy.algorithm {
            Algorithm::Hash => self.key,
            _ => self.snapshot.turns.lot(),
        };
        share >= WHOLE || hash::score(backend.identity, lot) % WHOLE < share
    }

    /// Whether the server's administrative state and its check allow this client.
    pub(super) fn is_in_service(&self, n: usize, backend: &Backend) -> bool {
        self.state_permits(n, backend) && backend.stats.health() != Health::Down
    }

    /// Whether the server's administrative state allows this client.
    pub(super) fn state_permits(&self, n: usize, backend: &Backend) -> bool {
        match backend.admin_state {
            AdminState::Ready => true,
            AdminState::Drain => self.remembered == Some(n),
            AdminState::Maint => false,
        }
    }

    /// The limit of the server's connections that applies to this client.
    pub(super) fn limit(&self, n: usize, backend: &Backend, now: Millis) -> Option<u32> {
        match backend.max {
            0 => None,
            max if self.remembered == Some(n) => Some(max.max(backend.hard)),
            max if self.snapshot.slowstart == 0 => Some(max),
            max => {
                let share = backend.stats.share(now, self.snapshot.slowstart);
                // The share is at least one connection and at most the limit.
                let part = (u64::from(max) * share).div_ceil(WHOLE);
                Some(u32::try_from(part).unwrap_or(max))
            }
        }
    }
}
