//! Where the servers of a configuration are, so that a file may name as many as it has lines.

use crate::core::command::server_keys::ServerConfig;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// The slots by the names of their servers, and the lowest unused one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SlotIndex {
    /// More than one for a name only until the end of a file, whose lines may exchange names.
    by_name: HashMap<String, BTreeSet<usize>>,
    /// The number of such names.
    shared: usize,
    unused: usize,
}

impl SlotIndex {
    /// The lowest slot with this name.
    pub(super) fn named(&self, name: &str) -> Option<usize> {
        self.by_name.get(name)?.first().copied()
    }

    /// The lowest unused slot.
    pub(super) fn unused(&self) -> usize {
        self.unused
    }

    /// Whether no two servers have the same name.
    pub(super) fn has_unique_names(&self) -> bool {
        self.shared == 0
    }

    /// Whether [`SlotIndex::changed`] would change something.
    pub(super) fn concerns(&self, n: usize, before: Option<&str>, servers: &[Arc<ServerConfig>]) -> bool {
        let slot = servers.get(n);
        let is_used = slot.is_some_and(|slot| **slot != ServerConfig::default());
        before != slot.and_then(|slot| slot.name.as_deref())
            || (n <= self.unused && is_used != (n < self.unused))
    }

    /// Slot `n` of `servers` has changed; its name was `before`.
    pub(super) fn changed(&mut self, n: usize, before: Option<String>, servers: &[Arc<ServerConfig>]) {
        let after = servers.get(n).and_then(|slot| slot.name.as_ref());
        if before.as_ref() != after {
            if let Some(before) = before
                && let Some(slots) = self.by_name.get_mut(&before)
            {
                slots.remove(&n);
                match slots.len() {
                    0 => _ = self.by_name.remove(&before),
                    1 => self.shared -= 1,
                    _ => {}
                }
            }
            if let Some(after) = after {
                let slots = self.by_name.entry(after.clone()).or_default();
                slots.insert(n);
                self.shared += usize::from(slots.len() == 2);
            }
        }
        let default = ServerConfig::default();
        let is_used = |n: usize| servers.get(n).is_some_and(|slot| **slot != default);
        if !is_used(n) {
            self.unused = self.unused.min(n);
        }
        while is_used(self.unused) {
            self.unused += 1;
        }
    }
}
