//! What the rules of selection compare, of all servers side by side in memory: with hundreds of servers, every new client
//! reads all of it, but for those that are ruled out.

use std::sync::Arc;

use crate::core::Millis;
use crate::core::backend::{Criterion, PER_WORD, RuledOut, ServerStats, UnmetCriteria, WHOLE};
use crate::core::health::Health;
use crate::core::number_set::NumberSet;
use crate::core::settings::AdminState;

use super::backend::Backend;
use super::policy::{Algorithm, Policy};

/// A server that may be selected, unless its state is `maint`.
#[derive(Debug)]
pub struct Selectable {
    /// See [`Backend::identity`].
    pub identity: u64,
    /// See [`Backend::weight`].
    pub weight: u32,
    /// See [`Backend::prio`].
    pub prio: u32,
    /// See [`Backend::max`].
    max: u32,
    /// See [`Backend::hard`].
    hard: u32,
    /// See [`Backend::stats`].
    pub stats: Arc<ServerStats>,
}

impl Selectable {
    /// Whether it meets the criterion at `now`. This reads one cache line of its counters, of it as little as the criterion needs.
    #[inline]
    fn meets(&self, criterion: Criterion, now: Millis, slowstart: Millis) -> bool {
        let stats = &self.stats;
        let is_up = || stats.health() != Health::Down;
        let works = || is_up() && !stats.is_removed() && stats.standing(now).may_be_tried();
        let has_room = |limit: u32| self.max == 0 || stats.connections() < limit;
        match criterion {
            Criterion::Up => is_up(),
            Criterion::Working => works(),
            Criterion::Place => works() && has_room(self.max.max(self.hard)),
            Criterion::PlaceForNew => stats.health() != Health::Unknown && works() && has_room(self.max),
            Criterion::PlaceUnproven => stats.health() == Health::Unknown && works() && has_room(self.max),
            Criterion::Transition => {
                !stats.standing(now).may_be_tried() || stats.share(now, slowstart) < WHOLE
            }
        }
    }
}

/// The servers that may be selected.
#[derive(Debug)]
pub struct SelectableServers {
    /// By slot.
    servers: Box<[Option<Selectable>]>,
    /// Those with an address.
    pub addressed: NumberSet,
    /// Those whose state is `ready`.
    pub ready: NumberSet,
    /// Those that clients without a server of their own may have: ready, with an address, and with a weight where that counts.
    pub for_all: NumberSet,
    ruled_out: RuledOut,
    slowstart: Millis,
}

impl SelectableServers {
    /// Those of the servers by slot.
    pub(super) fn new(
        backends: &[Option<Arc<Backend>>],
        policy: Policy,
        slowstart: Millis,
        ruled_out: RuledOut,
    ) -> Self {
        let selectable = |one: &&Arc<Backend>| one.admin_state != AdminState::Maint;
        let is_ready = |one: &Backend| one.admin_state == AdminState::Ready;
        let is_for_all = |one: &Backend| {
            let is_weighted = policy.algorithm != Algorithm::Weight || one.weight > 0;
            is_ready(one) && !one.addresses.is_empty() && is_weighted
        };
        let those = |criterion: &dyn Fn(&Backend) -> bool| {
            let mut set = NumberSet::default();
            let found = backends.iter().enumerate();
            found
                .filter(|(_, one)| one.as_ref().filter(selectable).is_some_and(|one| criterion(one)))
                .for_each(|(slot, _)| set.insert(slot));
            set
        };
        let servers = backends.iter().map(|one| {
            let one = one.as_ref().filter(selectable)?;
            Some(Selectable {
                identity: one.identity,
                weight: one.weight,
                prio: one.prio,
                max: one.max,
                hard: one.hard,
                stats: Arc::clone(&one.stats),
            })
        });
        SelectableServers {
            servers: servers.collect(),
            addressed: those(&|one| !one.addresses.is_empty()),
            ready: those(&is_ready),
            for_all: those(&is_for_all),
            ruled_out,
            slowstart,
        }
    }

    /// The server of a slot.
    pub fn get(&self, slot: usize) -> Option<&Selectable> {
        self.servers.get(slot)?.as_ref()
    }

    /// Whether a server meets the criterion. If not, later searches skip it.
    pub fn meets(&self, slot: usize, criterion: Criterion, now: Millis) -> bool {
        self.get(slot).is_some_and(|server| self.is_met_by(server, slot, criterion, now))
    }

    /// The same of the server of that slot.
    #[inline]
    pub fn is_met_by(&self, server: &Selectable, slot: usize, criterion: Criterion, now: Millis) -> bool {
        let is_met = server.meets(criterion, now, self.slowstart);
        if !is_met {
            self.rule_out(server, slot, now);
        }
        is_met
    }

    #[cold]
    fn rule_out(&self, server: &Selectable, slot: usize, now: Millis) {
        let meets = |criterion| server.meets(criterion, now, self.slowstart);
        self.ruled_out.rule_out(slot, || UnmetCriteria::new(meets, server.stats.standing_until(now)));
    }

    /// The slots for which `those` has a bit, in their order from `begin` on and then those before it. It gets the number of a
    /// word of [`PER_WORD`] slots, and who of them is ruled out, not to meet the criterion. Of the others each has to be asked
    /// for, see [`SelectableServers::meets`].
    pub fn possible(
        &self,
        criterion: Criterion,
        now: Millis,
        begin: usize,
        those: impl Fn(usize, u32) -> u32,
    ) -> impl Iterator<Item = usize> {
        self.ruled_out.expire(now);
        let words = self.servers.len().div_ceil(PER_WORD);
        let first = begin / PER_WORD;
        let from_begin = u32::MAX << (begin % PER_WORD);
        // The word of `begin` comes first for what is in it from there on, and last for the rest.
        (0..=words).filter(move |_| words > 0).flat_map(move |step| {
            let at = (first + step) % words;
            let part = match step {
                0 => from_begin,
                _ if step == words => !from_begin,
                _ => u32::MAX,
            };
            let mut left = those(at, self.ruled_out.word(criterion, at)) & part;
            std::iter::from_fn(move || {
                let bit = left.trailing_zeros() as usize;
                // Clears the lowest bit.
                left &= left.wrapping_sub(1);
                (bit < PER_WORD).then_some(at * PER_WORD + bit)
            })
        })
    }

    /// Calls `each` with the slot and the server of those which [`SelectableServers::possible`] has from the first slot on. Several
    /// times as fast, for searches that compare them all.
    #[inline]
    pub fn compare(
        &self,
        criterion: Criterion,
        now: Millis,
        those: impl Fn(usize, u32) -> u32,
        mut each: impl FnMut(usize, &Selectable),
    ) {
        self.ruled_out.expire(now);
        for (at, servers) in self.servers.chunks(PER_WORD).enumerate() {
            let mut left = those(at, self.ruled_out.word(criterion, at));
            while left != 0 {
                let bit = left.trailing_zeros() as usize;
                // Clears the lowest bit.
                left &= left.wrapping_sub(1);
                if let Some(Some(server)) = servers.get(bit) {
                    each(at * PER_WORD + bit, server);
                }
            }
        }
    }

    /// The slots of a set whose servers meet the criterion, in order.
    pub fn meeting(&self, criterion: Criterion, set: &NumberSet, now: Millis) -> impl Iterator<Item = usize> {
        let those = |at, out: u32| set.word(at) & !out;
        self.possible(criterion, now, 0, those).filter(move |n| self.meets(*n, criterion, now))
    }
}
