//! The flows of UDP: the known clients, the order of their last datagrams, and which flow ends when it expires or room
//! is needed.
//!
//! A flow begins with a client's first datagram. Until the server answers, it is *asking*; then it is *answered*; when
//! the client sends again after an answer, it is *lasting*: a conversation, not a single query. Every datagram, from
//! either side, makes its flow the most recent. Idle flows expire, oldest first.
//!
//! When there is no room for a new flow, another one ends early:
//! 1. the oldest answered one: for most protocols a query that has its answer is over (DNS sends each query from its
//!    own port);
//! 2. the oldest that has been asking without an answer for a while. Not one that began asking a moment ago, or under
//!    load every query would end before its answer;
//! 3. one of the address that has the most flows, if the new client's address has fewer, so that no address takes all
//!    the room;
//! 4. a conversation that has paused for a while.
//!
//! An address that already has its share of the room can only end conversations of its own by the last rule.

mod list;
mod owners;

use std::collections::HashMap;
use std::hash::Hash;

use slab::Slab;

use super::Millis;
use list::{Links, RecencyList, append, detach};
use owners::Owners;

/// The ID of a flow; it is never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowId {
    place: usize,
    number: u64,
}

impl FlowId {
    /// The same in 64 bits, for [`FlowTable::by_token`]; never [`u64::MAX`]. The numbers of 2^32 flows make it another's.
    pub fn token(self) -> u64 {
        (self.number << 32) | (self.place as u64 & PLACE)
    }
}

/// The bits of a token that are the place of its flow.
const PLACE: u64 = u32::MAX as u64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FlowPhase {
    Asking,
    Answered,
    Lasting,
}

/// The lists that a flow is in: the flows of its phase, and the flows of its owner.
const BY_PHASE: usize = 0;
const BY_OWNER: usize = 1;

#[derive(Debug)]
struct Node<K, T> {
    key: K,
    value: T,
    owner: usize,
    number: u64,
    phase: FlowPhase,
    last: Millis,
    links: [Links; 2],
}

impl<K, T> AsMut<[Links; 2]> for Node<K, T> {
    fn as_mut(&mut self) -> &mut [Links; 2] {
        &mut self.links
    }
}

/// The table of flows: `K` identifies a flow, `O` is its owner, `T` is the caller's data for it.
#[derive(Debug)]
pub struct FlowTable<K, O, T> {
    places: HashMap<K, usize>,
    nodes: Slab<Node<K, T>>,
    /// One list for each phase.
    phases: [RecencyList; 3],
    owners: Owners<O>,
    numbers: u64,
}

impl<K, O, T> Default for FlowTable<K, O, T> {
    fn default() -> Self {
        FlowTable {
            places: HashMap::new(),
            nodes: Slab::new(),
            phases: Default::default(),
            owners: Owners::default(),
            numbers: 0,
        }
    }
}

impl<K: Copy + Eq + Hash, O: Copy + Eq + Hash, T> FlowTable<K, O, T> {
    /// How many flows there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Records a datagram of this client at `now` and returns its flow, if it has one.
    pub fn from_client(&mut self, key: &K, now: Millis) -> Option<(FlowId, &T)> {
        let place = *self.places.get(key)?;
        let phase = match self.nodes.get(place)?.phase {
            FlowPhase::Asking => FlowPhase::Asking,
            FlowPhase::Answered | FlowPhase::Lasting => FlowPhase::Lasting,
        };
        self.touch(place, phase, now);
        self.nodes.get(place).map(|node| (FlowId { place, number: node.number }, &node.value))
    }

    /// Records a datagram of this flow's server at `now`. False when the flow has ended.
    pub fn from_server(&mut self, id: FlowId, now: Millis) -> bool {
        let Some(node) = self.node(id) else { return false };
        let phase = match node.phase {
            FlowPhase::Asking | FlowPhase::Answered => FlowPhase::Answered,
            FlowPhase::Lasting => FlowPhase::Lasting,
        };
        self.touch(id.place, phase, now);
        true
    }

    /// The flow of a token, unless it has ended.
    pub fn by_token(&self, token: u64) -> Option<(FlowId, &T)> {
        let place = usize::try_from(token & PLACE).ok()?;
        let node = self.nodes.get(place)?;
        let id = FlowId { place, number: node.number };
        (id.token() == token).then_some((id, &node.value))
    }

    /// Adds a flow of `owner` at `now`, for a client's first datagram. An earlier flow of this client ends and is
    /// returned.
    pub fn insert(&mut self, key: K, owner: O, value: T, now: Millis) -> (FlowId, Option<T>) {
        let before = self.places.get(&key).copied().and_then(|place| self.take(place));
        let number = self.numbers;
        self.numbers += 1;
        let owner = self.owners.join(owner);
        let phase = FlowPhase::Asking;
        let node = Node { key, value, owner, number, phase, last: now, links: Default::default() };
        let place = self.nodes.insert(node);
        self.places.insert(key, place);
        append(&mut self.nodes, &mut self.phases[phase as usize], BY_PHASE, place);
        append(&mut self.nodes, self.owners.list(owner), BY_OWNER, place);
        (FlowId { place, number }, before)
    }

    /// Ends a flow, unless it has ended.
    pub fn remove(&mut self, id: FlowId) -> Option<T> {
        self.node(id)?;
        self.take(id.place)
    }

    /// Ends the oldest flow that has been idle for at least `idle`; call it until it returns `None`.
    pub fn expire(&mut self, now: Millis, idle: Millis) -> Option<T> {
        let (place, last) = self.oldest()?;
        if now.saturating_sub(last) < idle { None } else { self.take(place) }
    }

    /// When [`FlowTable::expire`] will next have a flow to end, if no datagram comes before.
    pub fn due(&self, idle: Millis) -> Option<Millis> {
        self.oldest().map(|(_, last)| last.saturating_add(idle))
    }

    /// The number of flows of `owner`.
    pub fn count_of(&self, owner: &O) -> usize {
        self.owners.count_of(owner)
    }

    /// Ends the least important flow to make room for one of `owner` among `limit`. A flow that has paused for less
    /// than `patience` is only ended for [fairness](self).
    pub fn make_room(&mut self, owner: &O, limit: usize, now: Millis, patience: Millis) -> Option<T> {
        let asking = || self.paused(self.phases[FlowPhase::Asking as usize].oldest, now, patience);
        let question = self.phases[FlowPhase::Answered as usize].oldest.or_else(asking);
        let own = self.count_of(owner);
        let owners = self.owners.len() + usize::from(own == 0);
        let has_its_share = own > 0 && own >= limit / owners;
        let place = question.or_else(|| {
            if has_its_share {
                return self.paused(self.owners.oldest_of(owner), now, patience);
            }
            let of_heaviest = self.owners.heaviest().filter(|(count, _)| *count > own + 1);
            of_heaviest
                .and_then(|(_, oldest)| oldest)
                .or_else(|| self.paused(self.phases[FlowPhase::Lasting as usize].oldest, now, patience))
        })?;
        self.take(place)
    }

    /// Ends a flow of `owner` that is answered or has paused for at least `patience`, to make room for another of its
    /// own.
    pub fn make_own_room(&mut self, owner: &O, now: Millis, patience: Millis) -> Option<T> {
        let oldest = self.owners.oldest_of(owner)?;
        let answered = self.nodes.get(oldest).is_some_and(|node| node.phase == FlowPhase::Answered);
        let place = if answered { oldest } else { self.paused(Some(oldest), now, patience)? };
        self.take(place)
    }

    /// The flow, if nothing has come for at least `patience`.
    fn paused(&self, place: Option<usize>, now: Millis, patience: Millis) -> Option<usize> {
        let last = self.nodes.get(place?)?.last;
        place.filter(|_| now.saturating_sub(last) >= patience)
    }

    fn node(&self, id: FlowId) -> Option<&Node<K, T>> {
        self.nodes.get(id.place).filter(|node| node.number == id.number)
    }

    /// The oldest flow of all phases.
    fn oldest(&self) -> Option<(usize, Millis)> {
        let last = |place: usize| Some((place, self.nodes.get(place)?.last));
        self.phases.iter().filter_map(|phase| last(phase.oldest?)).min_by_key(|(_, last)| *last)
    }

    fn touch(&mut self, place: usize, phase: FlowPhase, now: Millis) {
        let Some(node) = self.nodes.get_mut(place) else { return };
        let (before, owner) = (node.phase, node.owner);
        (node.phase, node.last) = (phase, now);
        let list = &mut self.phases[before as usize];
        if before != phase || list.newest != Some(place) {
            detach(&mut self.nodes, list, BY_PHASE, place);
            append(&mut self.nodes, &mut self.phases[phase as usize], BY_PHASE, place);
        }
        let list = self.owners.list(owner);
        if list.newest != Some(place) {
            detach(&mut self.nodes, list, BY_OWNER, place);
            append(&mut self.nodes, list, BY_OWNER, place);
        }
    }

    fn take(&mut self, place: usize) -> Option<T> {
        let (phase, owner) = self.nodes.get(place).map(|node| (node.phase, node.owner))?;
        detach(&mut self.nodes, &mut self.phases[phase as usize], BY_PHASE, place);
        detach(&mut self.nodes, self.owners.list(owner), BY_OWNER, place);
        self.owners.leave(owner);
        let node = self.nodes.try_remove(place)?;
        self.places.remove(&node.key);
        Some(node.value)
    }
}

#[cfg(test)]
mod tests;
