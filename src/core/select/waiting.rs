//! The search of a client that waits in the queue while the servers that could serve it are full.

use super::{Selected, Selection};
use crate::core::Millis;
use crate::core::backend::{Standing, WHOLE};
use crate::core::health::Health;
use crate::core::number_set::NumberSet;
use crate::core::queue::{Look, Waiter};
use crate::core::settings::AdminState;
use crate::core::snapshot::{Backend, Role, Snapshot};
use std::sync::Arc;

/// How often a waiting client checks a limit that grows during slow start, in milliseconds.
const GROWTH: Millis = 100;

/// The state of the servers at one time.
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

/// Whether a server is available: not blacklisted, not down, not removed, and its address is known.
fn is_in_use(backend: &Backend, now: Millis) -> bool {
    backend.stats.standing(now).may_be_tried()
        && backend.stats.health() != Health::Down
        && !backend.stats.is_removed()
        && !backend.addresses.is_empty()
}

impl Selection {
    /// Whether a server would serve the client if its limit were not reached. If a connection of that server ends meanwhile, the
    /// client is woken.
    pub(super) fn is_held_up(&self, now: Millis) -> bool {
        let held = |n: usize, backend: &Backend| {
            is_in_use(backend, now) && backend.max != 0 && self.serves_with_room(n, backend)
        };
        let only = self.first_choice().filter(|_| self.snapshot.policy.stubborn);
        self.untried().any(|(n, backend)| only.is_none_or(|only| only == n) && held(n, backend))
    }

    /// Continues with the configuration in force. What the search knows about a server is kept only if it is still the same server.
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
