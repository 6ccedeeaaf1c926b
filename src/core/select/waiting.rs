//! The search of a client that waits in the queue while the servers that could serve it are full.

use super::{Selected, Selection};
use crate::core::Millis;
use crate::core::backend::{Criterion, Standing, WHOLE};
use crate::core::number_set::NumberSet;
use crate::core::queue::{Look, Waiter};
use crate::core::snapshot::{Role, Snapshot};
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
        let servers = &view.snapshot.selectable;
        servers.meeting(Criterion::Place, &servers.addressed, view.now).next().is_some()
    }

    fn next_change(view: &View) -> Option<Millis> {
        let servers = &view.snapshot.selectable;
        let of = |n: usize| {
            let stats = &servers.get(n)?.stats;
            let grows = stats.share(view.now, view.snapshot.slowstart) < WHOLE;
            match stats.standing(view.now) {
                Standing::Failed(until) | Standing::Ordered(until) => Some(until),
                _ => grows.then(|| view.now.saturating_add(GROWTH)),
            }
        };
        servers.meeting(Criterion::Transition, &servers.addressed, view.now).filter_map(of).min()
    }
}

impl Selection {
    /// Whether a server would serve the client if its limit were not reached. If a connection of that server ends meanwhile, the
    /// client is woken.
    pub(super) fn is_held_up(&self, now: Millis) -> bool {
        let held = |n: usize| {
            let backend = self.snapshot.backends.get(n).and_then(Option::as_ref);
            backend.is_some_and(|backend| {
                let works = backend.stats.standing(now).may_be_tried();
                backend.max != 0 && works && self.serves_with_room(n, backend)
            })
        };
        if self.snapshot.policy.stubborn
            && let Some(only) = self.first_choice(now)
        {
            return self.is_untried(only) && held(only);
        }
        self.those((Criterion::Working, now), 0, &self.snapshot.selectable.for_all).any(held)
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
