//! A queue of items with keys: removes the oldest first, and finds the newest or the oldest item of a key in constant
//! time.

use std::collections::VecDeque;

use crate::weblog::key::{KeyMap, RequestKey};

/// No neighbour.
const NONE: u64 = u64::MAX;

/// Items in the order they came, each under a key. Every operation takes constant time, amortized.
pub(super) struct KeyedQueue<T> {
    /// The items, oldest first; `None` where one was removed. The first is never `None`.
    slots: VecDeque<Option<KeyedItem<T>>>,
    /// The number of the first slot.
    base: u64,
    /// The oldest and the newest item of each key.
    ends: KeyMap<(u64, u64)>,
    len: usize,
}

struct KeyedItem<T> {
    key: RequestKey,
    item: T,
    older: u64,
    newer: u64,
}

impl<T> Default for KeyedQueue<T> {
    fn default() -> Self {
        KeyedQueue { slots: VecDeque::new(), base: 0, ends: KeyMap::default(), len: 0 }
    }
}

impl<T> KeyedQueue<T> {
    /// The number of items.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether the queue is empty.
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds an item as the newest.
    pub(super) fn push(&mut self, key: RequestKey, item: T) {
        let number = self.base + self.slots.len() as u64;
        let older = match self.ends.get_mut(&key) {
            Some((_, newest)) => std::mem::replace(newest, number),
            None => {
                self.ends.insert(key, (number, number));
                NONE
            }
        };
        if let Some(slot) = self.slot(older) {
            slot.newer = number;
        }
        self.slots.push_back(Some(KeyedItem { key, item, older, newer: NONE }));
        self.len += 1;
    }

    /// The oldest item.
    pub(super) fn oldest(&self) -> Option<&T> {
        self.slots.front()?.as_ref().map(|slot| &slot.item)
    }

    /// The newest item of a key.
    pub(super) fn newest_of(&self, key: RequestKey) -> Option<&T> {
        let &(_, newest) = self.ends.get(&key)?;
        self.slots.get((newest - self.base) as usize)?.as_ref().map(|slot| &slot.item)
    }

    /// Removes the oldest item.
    pub(super) fn take_oldest(&mut self) -> Option<T> {
        self.take(self.base)
    }

    /// Removes the oldest item and returns it with its key.
    pub(super) fn take_oldest_with_key(&mut self) -> Option<(RequestKey, T)> {
        let key = self.slots.front()?.as_ref()?.key;
        self.take_oldest().map(|item| (key, item))
    }

    /// Removes the oldest item of a key.
    pub(super) fn take_oldest_of(&mut self, key: RequestKey) -> Option<T> {
        let &(oldest, _) = self.ends.get(&key)?;
        self.take(oldest)
    }

    /// Removes the newest item of a key.
    pub(super) fn take_newest_of(&mut self, key: RequestKey) -> Option<T> {
        let &(_, newest) = self.ends.get(&key)?;
        self.take(newest)
    }

    fn slot(&mut self, number: u64) -> Option<&mut KeyedItem<T>> {
        let at = number.checked_sub(self.base)?;
        self.slots.get_mut(usize::try_from(at).ok()?)?.as_mut()
    }

    fn take(&mut self, number: u64) -> Option<T> {
        let slot = self.slots.get_mut((number - self.base) as usize)?.take()?;
        let KeyedItem { key, item, older, newer } = slot;
        if let Some(slot) = self.slot(older) {
            slot.newer = newer;
        }
        if let Some(slot) = self.slot(newer) {
            slot.older = older;
        }
        if older == NONE && newer == NONE {
            self.ends.remove(&key);
        } else if let Some((oldest, newest)) = self.ends.get_mut(&key) {
            if older == NONE {
                *oldest = newer;
            }
            if newer == NONE {
                *newest = older;
            }
        }
        self.len -= 1;
        while let Some(None) = self.slots.front() {
            self.slots.pop_front();
            self.base += 1;
        }
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weblog::key::{KeyMaker, ServerName};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn behaves_as_a_plain_list(steps in prop::collection::vec((0_u8..5, 0_u8..4), 0..200)) {
            let keys = KeyMaker::default().server(&ServerName::Other("a"));
            let (mut queue, mut model) = (KeyedQueue::default(), Vec::<(u8, usize)>::new());
            for (n, (step, k)) in steps.into_iter().enumerate() {
                let key = keys.key(&[k]);
                match step {
                    0 | 1 => {
                        queue.push(key, n);
                        model.push((k, n));
                    }
                    2 => {
                        let first = if model.is_empty() { None } else { Some(0) };
                        let wanted = first.map(|at| model.remove(at).1);
                        prop_assert_eq!(queue.take_oldest(), wanted);
                    }
                    3 => {
                        let at = model.iter().position(|m| m.0 == k);
                        let wanted = at.map(|at| model.remove(at).1);
                        prop_assert_eq!(queue.take_oldest_of(key), wanted);
                    }
                    _ => {
                        let at = model.iter().rposition(|m| m.0 == k);
                        prop_assert_eq!(queue.newest_of(key).copied(), at.map(|at| model[at].1));
                        let wanted = at.map(|at| model.remove(at).1);
                        prop_assert_eq!(queue.take_newest_of(key), wanted);
                    }
                }
                prop_assert_eq!(queue.len(), model.len());
                prop_assert_eq!(queue.oldest().copied(), model.first().map(|m| m.1));
                prop_assert_eq!(queue.is_empty(), queue.ends.is_empty());
            }
        }
    }
}
