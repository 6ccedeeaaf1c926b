//! The connections that have carried no byte yet: who makes room when there is none.

use std::collections::BTreeMap;

use crate::core::Millis;

/// How long a connection may be silent before it makes room for another one.
pub(super) const SILENCE: Millis = 1_000;

/// The connections, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Silent {
    /// The number of each, and since when it has been silent.
    connections: BTreeMap<u64, (usize, Millis)>,
    arrivals: u64,
}

impl Silent {
    /// Connection `id` is silent from `now` on. Returns its place.
    pub(super) fn add(&mut self, id: usize, now: Millis) -> u64 {
        let place = self.arrivals;
        self.arrivals += 1;
        self.connections.insert(place, (id, now));
        place
    }

    /// The connection in that place, if there is one, is not to make room.
    pub(super) fn remove(&mut self, place: u64) {
        self.connections.remove(&place);
    }

    /// The one that has been silent for longest, if that is long enough; else how much longer that takes. `None` if there is none.
    pub(super) fn take(&mut self, now: Millis) -> Option<Result<usize, Millis>> {
        let first = self.connections.first_entry()?;
        let (id, since) = *first.get();
        let age = now.saturating_sub(since);
        if age < SILENCE {
            return Some(Err(SILENCE - age));
        }
        first.remove();
        Some(Ok(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_makes_room_once_it_has_been_silent_for_a_while() {
        let mut silent = Silent::default();
        assert_eq!(silent.take(5000), None);
        let first = silent.add(7, 0);
        silent.add(8, 400);
        assert_eq!(silent.take(SILENCE - 1), Some(Err(1)));
        silent.remove(first);
        assert_eq!(silent.take(SILENCE), Some(Err(400)));
        assert_eq!(silent.take(SILENCE + 400), Some(Ok(8)));
        assert_eq!(silent.take(SILENCE + 400), None);
    }
}
