//! The rules for choosing the next of several servers, and the servers that they consider.

use super::{Selected, Selection};
use crate::core::backend::{Criterion, PER_WORD, WHOLE};
use crate::core::health::Health;
use crate::core::number_set::NumberSet;
use crate::core::settings::AdminState;
use crate::core::snapshot::{Algorithm, Backend, Selectable};
use crate::core::{Millis, hash};
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
            let found = self.candidate_among((Criterion::PlaceForNew, now), after, warm);
            if found.is_some() {
                return found;
            }
        }
        let known = |n: usize, b: &Backend| !lost.contains(n) && b.stats.health() != Health::Unknown;
        let unknown = |n: usize, b: &Backend| !lost.contains(n) && b.stats.health() == Health::Unknown;
        self.candidate_among((Criterion::PlaceForNew, now), after, known)
            .or_else(|| self.candidate_among((Criterion::PlaceUnproven, now), after, unknown))
    }

    /// The first untried server by the rule in force that meets the criterion, is eligible and may be used.
    pub(super) fn candidate_among(
        &self,
        within: (Criterion, Millis),
        after: Option<usize>,
        eligible: impl Fn(usize, &Backend) -> bool,
    ) -> Option<usize> {
        let usable = |n: usize, b: &Backend| eligible(n, b) && self.is_available(n, b, within.1);
        let turns = self.snapshot.turns.begin();
        let turn = |one: &Selectable| turns.place(&one.stats);
        match self.snapshot.policy.algorithm {
            Algorithm::Prio => self.best(within, |one| (one.prio, turn(one)), |one, best| one < best, usable),
            // a/b < c/d as a*d < c*b, exact in 64 bits
            Algorithm::Weight => self.best(
                within,
                |one| (u64::from(one.stats.connections()), u64::from(one.weight), turn(one)),
                |(used, weight, turn), (best_used, best_weight, best_turn)| {
                    (used * best_weight).cmp(&(best_used * weight)).then_with(|| turn.cmp(best_turn)).is_lt()
                },
                usable,
            ),
            Algorithm::Hash => self.by_hash(within, |n, b| usable(n, b)),
            Algorithm::RoundRobin => {
                let last = after.unwrap_or_else(|| self.snapshot.cursor.load(Relaxed));
                let count = self.snapshot.backends.len().max(1);
                let turn =
                    self.those(within, last.wrapping_add(1) % count, &self.snapshot.selectable.for_all);
                turn.filter_map(|n| self.snapshot.backends[n].as_ref().map(|b| (n, b)))
                    .find(|(n, b)| usable(*n, b))
                    .map(|(n, _)| n)
            }
        }
    }

    /// The server that the client's hash names, among those that were not tried, meet the criterion and fulfil `usable`.
    pub(super) fn by_hash(
        &self,
        within: (Criterion, Millis),
        usable: impl Fn(usize, &Backend) -> bool,
    ) -> Option<usize> {
        self.best(within, |one| hash::score(one.identity, self.key), |one, best| one >= best, usable)
    }

    /// The best of the servers that were not tried, meet the criterion and fulfil `usable`; the first of several, unless `is_better`
    /// is true for equals. What they ask reads several places in memory for each server, and comparing reads few: a server
    /// is asked only if it would be the best so far, which is so for a handful of thousands. One that does not meet the
    /// criterion is ruled out then; others like it are when a client comes for whom they would be the best.
    pub(super) fn best<T>(
        &self,
        (criterion, now): (Criterion, Millis),
        value: impl Fn(&Selectable) -> T,
        is_better: impl Fn(&T, &T) -> bool,
        usable: impl Fn(usize, &Backend) -> bool,
    ) -> Option<usize> {
        let servers = &self.snapshot.selectable;
        // A server that is up may be the client's own by its hash although it has no address yet.
        let set = if criterion == Criterion::Up { &servers.ready } else { &servers.for_all };
        let mut best: Option<(T, usize)> = None;
        let own = self.remembered;
        servers.compare(criterion, now, self.mask(set), |n, one| {
            let value = value(one);
            if best.as_ref().is_none_or(|(best, _)| is_better(&value, best))
                && (own == Some(n) || servers.is_met_by(one, n, criterion, now))
                && let Some(backend) = &self.snapshot.backends[n]
                && usable(n, backend)
            {
                best = Some((value, n));
            }
        });
        best.map(|(_, n)| n)
    }

    /// The servers of a set that were not tried for this client and meet the criterion, from `begin` on and then those
    /// before it. The client's own server is always among them if it was not tried: it has other limits, and it may be in no set.
    pub(super) fn those(
        &self,
        (criterion, now): (Criterion, Millis),
        begin: usize,
        set: &NumberSet,
    ) -> impl Iterator<Item = usize> {
        let (servers, own) = (&self.snapshot.selectable, self.remembered);
        let possible = servers.possible(criterion, now, begin, self.mask(set));
        possible.filter(move |n| match own {
            // It may be gone, or in maintenance.
            Some(own) if own == *n => servers.get(own).is_some(),
            _ => servers.meets(*n, criterion, now),
        })
    }

    /// Those of a set that were not tried for this client, without who is ruled out but with the client's own server: for
    /// [`possible`](crate::core::snapshot::SelectableServers::possible).
    fn mask(&self, set: &NumberSet) -> impl Fn(usize, u32) -> u32 {
        let own = self.remembered;
        let own_word = move |at| own.filter(|n| n / PER_WORD == at).map_or(0, |n| 1 << (n % PER_WORD));
        let route_word = |at| self.route.as_ref().map_or(u32::MAX, |route| route.word(at));
        move |at, out| ((set.word(at) & !out) | own_word(at)) & !self.tried.word(at) & route_word(at)
    }

    /// Whether the server is one for this client, and was not tried.
    pub(super) fn is_untried(&self, n: usize) -> bool {
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
