//! The flows of UDP: which clients pen has, who spoke last, and which of them goes when time or room runs out.
//!
//! A flow begins with a client's first datagram. Until the server answers it is *asking*; then it is *answered*, and when
//! the client speaks again after an answer it is *lasting*: a conversation, not a single question. Every datagram, of
//! either side, makes its flow the most recent. FlowTable end when they were idle for too long, oldest first. Where there is
//! no room for a new one, the oldest answered flow ends early, since a question that has its answer is over for most
//! protocols (DNS asks each from a port of its own); if there is none, the oldest that has been asking in vain for a while.
//! Not one that asks since a moment ago, or under load every question would end before its answer; and no conversation.

use std::collections::HashMap;
use std::hash::Hash;

use slab::Slab;

use super::Millis;

/// A flow's name while it lives; it is never given to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowId {
    place: usize,
    number: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FlowPhase {
    Asking,
    Answered,
    Lasting,
}

#[derive(Debug)]
struct Node<K, T> {
    key: K,
    value: T,
    number: u64,
    phase: FlowPhase,
    last: Millis,
    older: Option<usize>,
    newer: Option<usize>,
}

/// FlowTable in the order of their last datagrams.
#[derive(Debug, Clone, Copy, Default)]
struct RecencyList {
    oldest: Option<usize>,
    newest: Option<usize>,
}

/// The table of flows: `K` is what tells clients apart, `T` what the caller keeps for each.
#[derive(Debug)]
pub struct FlowTable<K, T> {
    places: HashMap<K, usize>,
    nodes: Slab<Node<K, T>>,
    /// One for each phase.
    orders: [RecencyList; 3],
    numbers: u64,
}

impl<K, T> Default for FlowTable<K, T> {
    fn default() -> Self {
        FlowTable { places: HashMap::new(), nodes: Slab::new(), orders: Default::default(), numbers: 0 }
    }
}

impl<K: Copy + Eq + Hash, T> FlowTable<K, T> {
    /// How many flows there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// A datagram of this client came at `now`; its flow, if it has one.
    pub fn from_client(&mut self, key: &K, now: Millis) -> Option<(FlowId, &T)> {
        let place = *self.places.get(key)?;
        let phase = match self.nodes.get(place)?.phase {
            FlowPhase::Asking => FlowPhase::Asking,
            FlowPhase::Answered | FlowPhase::Lasting => FlowPhase::Lasting,
        };
        self.touch(place, phase, now);
        self.nodes.get(place).map(|node| (FlowId { place, number: node.number }, &node.value))
    }

    /// A datagram of this flow's server came at `now`. False when the flow has ended.
    pub fn from_server(&mut self, id: FlowId, now: Millis) -> bool {
        let Some(node) = self.node(id) else { return false };
        let phase = match node.phase {
            FlowPhase::Asking | FlowPhase::Answered => FlowPhase::Answered,
            FlowPhase::Lasting => FlowPhase::Lasting,
        };
        self.touch(id.place, phase, now);
        true
    }

    /// A new client, with its first datagram, at `now`. A flow that it had before ends, and is returned.
    pub fn insert(&mut self, key: K, value: T, now: Millis) -> (FlowId, Option<T>) {
        let before = self.places.get(&key).copied().and_then(|place| self.take(place));
        let number = self.numbers;
        self.numbers += 1;
        let phase = FlowPhase::Asking;
        let node = Node { key, value, number, phase, last: now, older: None, newer: None };
        let place = self.nodes.insert(node);
        self.places.insert(key, place);
        self.append(place);
        (FlowId { place, number }, before)
    }

    /// Ends a flow, unless it has ended.
    pub fn remove(&mut self, id: FlowId) -> Option<T> {
        self.node(id)?;
        self.take(id.place)
    }

    /// Ends the oldest flow that no datagram has come for since `idle` ago or longer; to be called until there is none.
    pub fn expire(&mut self, now: Millis, idle: Millis) -> Option<T> {
        let (place, last) = self.oldest()?;
        if now.saturating_sub(last) < idle { None } else { self.take(place) }
    }

    /// When [`FlowTable::expire`] will have something to end, if no datagram comes before.
    pub fn due(&self, idle: Millis) -> Option<Millis> {
        self.oldest().map(|(_, last)| last.saturating_add(idle))
    }

    /// Ends the flow that matters least, to make room: the oldest answered one, else the oldest that has been asking in
    /// vain for as long as `patience`.
    pub fn make_room(&mut self, now: Millis, patience: Millis) -> Option<T> {
        let answered = self.orders[FlowPhase::Answered as usize].oldest;
        let place = answered.or_else(|| {
            let place = self.orders[FlowPhase::Asking as usize].oldest?;
            let last = self.nodes.get(place)?.last;
            (now.saturating_sub(last) >= patience).then_some(place)
        })?;
        self.take(place)
    }

    fn node(&self, id: FlowId) -> Option<&Node<K, T>> {
        self.nodes.get(id.place).filter(|node| node.number == id.number)
    }

    /// Of all orders.
    fn oldest(&self) -> Option<(usize, Millis)> {
        let last = |place: usize| Some((place, self.nodes.get(place)?.last));
        self.orders.iter().filter_map(|order| last(order.oldest?)).min_by_key(|(_, last)| *last)
    }

    fn touch(&mut self, place: usize, phase: FlowPhase, now: Millis) {
        // A flow is in one order only: if it is the newest of the new phase it has not changed.
        let newest = self.orders[phase as usize].newest == Some(place);
        if !newest {
            self.detach(place);
        }
        if let Some(node) = self.nodes.get_mut(place) {
            (node.phase, node.last) = (phase, now);
        }
        if !newest {
            self.append(place);
        }
    }

    fn take(&mut self, place: usize) -> Option<T> {
        self.detach(place);
        let node = self.nodes.try_remove(place)?;
        self.places.remove(&node.key);
        Some(node.value)
    }

    fn detach(&mut self, place: usize) {
        let Some(node) = self.nodes.get_mut(place) else { return };
        let (older, newer) = (node.older.take(), node.newer.take());
        let order = &mut self.orders[node.phase as usize];
        match older.and_then(|older| self.nodes.get_mut(older)) {
            Some(node) => node.newer = newer,
            None => order.oldest = newer,
        }
        match newer.and_then(|newer| self.nodes.get_mut(newer)) {
            Some(node) => node.older = older,
            None => order.newest = older,
        }
    }

    fn append(&mut self, place: usize) {
        let Some(phase) = self.nodes.get(place).map(|node| node.phase) else { return };
        let order = &mut self.orders[phase as usize];
        let older = order.newest.replace(place);
        match older.and_then(|older| self.nodes.get_mut(older)) {
            Some(node) => node.newer = Some(place),
            None => order.oldest = Some(place),
        }
        if let Some(node) = self.nodes.get_mut(place) {
            node.older = older;
        }
    }
}

#[cfg(test)]
mod tests;
