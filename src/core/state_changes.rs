//! Changes of servers' states, for whoever shows them: also those that last too short to be seen from time to time.

use std::collections::VecDeque;
use std::mem;

use parking_lot::Mutex;

use super::Millis;
use super::report::model::standing_of;
use super::snapshot::Backend;

/// The number of changes that are kept until they are taken.
const KEPT: usize = 100;

/// A server's new state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateChange {
    /// The number of the server, see [`super::snapshot::Role::number`].
    pub number: i64,
    /// Its name, or what it is called without one.
    pub name: String,
    /// When it changed.
    pub at: Millis,
    /// The state, in a word.
    pub state: &'static str,
    /// Why.
    pub reason: Option<String>,
}

/// The changes that nobody has taken yet; if there are too many, the oldest are lost.
#[derive(Debug, Default)]
pub struct StateChanges(Mutex<VecDeque<StateChange>>);

impl StateChanges {
    /// The state of `backend` has changed for `reason`.
    pub fn note(&self, backend: &Backend, reason: Option<&str>, now: Millis) {
        let change = StateChange {
            number: backend.role.number(),
            name: backend.display_name().into_owned(),
            at: now,
            state: standing_of(backend, now),
            reason: reason.map(str::to_owned),
        };
        let mut changes = self.0.lock();
        if changes.len() == KEPT {
            changes.pop_front();
        }
        changes.push_back(change);
    }

    /// Takes the changes since the last call, oldest first.
    pub fn take(&self) -> VecDeque<StateChange> {
        mem::take(&mut self.0.lock())
    }
}
