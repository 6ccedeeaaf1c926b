//! What a client waits for in the queue, when the servers that could serve it are full.

use super::{Selected, Selection};
use crate::core::Millis;
use crate::core::backend::{Standing, WHOLE};
use crate::core::health::Health;
use crate::core::number_set::NumberSet;
use crate::core::queue::{Look, Waiter};
use crate::core::settings::AdminState;
use crate::core::snapshot::{Backend, Role, Snapshot};
use std::sync::Arc;

/// How often a limit is looked at again that grows with time, in milliseconds.
const GROWTH: Millis = 100;

/// The servers in a moment.
#[derive(Debug)]
pub struct View {
    /// As they are configured.
    pub snapshot: Arc<Snapshot>,
    /// Now.
    pub now: Millis,
}

impl View {
    fn servers(&self) -> impl Iterator<Item = &Arc<Backend>> {
        self.snapshot.backends.iter().flatten()
    }
}

impl Waiter for Selection {
    type View = View;
    type Place = Selected;

    fn look(&mut self, view: &View) -> Look<Selected> {
        self.follow(&view.snapshot);
        match self.regular(view.now) {
            Some(selected) => {
                self.stage = self.chosen(&selected);
                Look::Place(selected)
            }
            None if self.is_held_up(view.now) => Look::Full,
            None => Look::None,
        }
    }

    fn has_room(view: &View) -> bool {
        view.servers().any(|backend| {
            let limit = backend.max.max(backend.hard);
            is_in_use(backend, view.now)
                && backend.admin_state != AdminState::Maint
                && (backend.max == 0 || backend.stats.connections() < limit)
        })
    }

    fn next_change(view: &View) -> Option<Millis> {
        let of = |backend: &Arc<Backend>| {
            let grows = backend.stats.share(view.now, view.snapshot.slowstart) < WHOLE;
            match backend.stats.standing(view.now) {
                Standing::Failed(until) | Standing::Ordered(until) => Some(until),
                _ => grows.then(|| view.now.saturating_add(GROWTH)),
            }
        };
        view.servers().filter_map(of).min()
    }
}

/// Whether it works, as far as that is known, and is to be used.
fn is_in_use(backend: &Backend, now: Millis) -> bool {
    backend.stats.standing(now).may_be_tried()
        && backend.stats.health() != Health::Down
        && !backend.stats.is_removed()
        && !backend.addresses.is_empty()
}

impl Selection {
    /// Whether a server would serve the client but for its limit. It may have come below that in this moment: who waits is
    /// woken by that.
    pub(super) fn is_held_up(&self, now: Millis) -> bool {
        let held = |n: usize, backend: &Backend| {
            is_in_use(backend, now) && backend.max != 0 && self.serves_with_room(n, backend)
        };
        let only = self.first_choice().filter(|_| self.snapshot.policy.stubborn);
        self.untried().any(|(n, backend)| only.is_none_or(|only| only == n) && held(n, backend))
    }

    /// Goes on by the configuration in force. What is known of a server counts only where that is still the same one.
    fn follow(&mut self, snapshot: &Arc<Snapshot>) {
        if Arc::ptr_eq(&self.snapshot, snapshot) {
            return;
        }
        let before = std::mem::replace(&mut self.snapshot, Arc::clone(snapshot));
        let stats = |snapshot: &Snapshot, n| snapshot.backend(Role::Regular(n)).map(|b| Arc::clone(&b.stats));
        let is_same = |n| match (stats(&before, n), stats(snapshot, n)) {
            (Some(before), Some(now)) => Arc::ptr_eq(&before, &now),
            _ => false,
        };
        self.remembered = self.remembered.filter(|n| snapshot.policy.affinity && is_same(*n));
        let same_of = |servers: &NumberSet| {
            let mut same = NumberSet::default();
            let count = before.backends.len();
            (0..count).filter(|n| servers.contains(*n) && is_same(*n)).for_each(|n| same.insert(n));
            same
        };
        self.route = self.route.take().map(|route| Arc::new(same_of(&route)));
        self.tried = same_of(&self.tried);
    }
}
