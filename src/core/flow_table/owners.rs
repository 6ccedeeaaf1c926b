//! The owners of flows, and which of them has the most.

use super::list::RecencyList;
use slab::Slab;
use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

#[derive(Debug)]
struct FlowOwner<O> {
    name: O,
    count: usize,
    flows: RecencyList,
}

/// The owners that have flows.
#[derive(Debug)]
pub(super) struct Owners<O> {
    places: HashMap<O, usize>,
    owners: Slab<FlowOwner<O>>,
    /// Each with its number of flows, in ascending order.
    counts: BTreeSet<(usize, usize)>,
    /// The list that [`Owners::list`] returns for an unknown owner.
    none: RecencyList,
}

impl<O> Default for Owners<O> {
    fn default() -> Self {
        Owners {
            places: HashMap::new(),
            owners: Slab::new(),
            counts: BTreeSet::new(),
            none: RecencyList::default(),
        }
    }
}

impl<O: Copy + Eq + Hash> Owners<O> {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.owners.len()
    }

    /// Counts one more flow of `name`; returns the owner's number.
    pub(super) fn join(&mut self, name: O) -> usize {
        let owners = &mut self.owners;
        let at = *self
            .places
            .entry(name)
            .or_insert_with(|| owners.insert(FlowOwner { name, count: 0, flows: RecencyList::default() }));
        if let Some(owner) = self.owners.get_mut(at) {
            self.counts.remove(&(owner.count, at));
            owner.count += 1;
            self.counts.insert((owner.count, at));
        }
        at
    }

    /// Counts one flow less of the owner with that number.
    pub(super) fn leave(&mut self, at: usize) {
        let Some(owner) = self.owners.get_mut(at) else { return };
        self.counts.remove(&(owner.count, at));
        owner.count -= 1;
        if owner.count > 0 {
            self.counts.insert((owner.count, at));
        } else if let Some(owner) = self.owners.try_remove(at) {
            self.places.remove(&owner.name);
        }
    }

    /// The flows of the owner with that number.
    pub(super) fn list(&mut self, at: usize) -> &mut RecencyList {
        self.owners.get_mut(at).map_or(&mut self.none, |owner| &mut owner.flows)
    }

    /// The number of flows of `name`.
    pub(super) fn count_of(&self, name: &O) -> usize {
        self.find(name).map_or(0, |owner| owner.count)
    }

    /// The oldest flow of `name`.
    pub(super) fn oldest_of(&self, name: &O) -> Option<usize> {
        self.find(name)?.flows.oldest
    }

    /// The number of flows of the owner that has the most, and the oldest of them.
    pub(super) fn heaviest(&self) -> Option<(usize, Option<usize>)> {
        let (count, at) = self.counts.last()?;
        Some((*count, self.owners.get(*at)?.flows.oldest))
    }

    fn find(&self, name: &O) -> Option<&FlowOwner<O>> {
        self.owners.get(*self.places.get(name)?)
    }

    /// Whether all parts agree.
    #[cfg(test)]
    pub(super) fn is_consistent(&self) -> bool {
        self.places.len() == self.owners.len() && self.counts.len() == self.owners.len()
    }
}
