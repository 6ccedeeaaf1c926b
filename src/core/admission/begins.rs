//! When the recent connections of a client began: what a limit for any period needs to know, in bounded memory.
//!
//! Connections that begin at about the same time are one entry, which counts until the last of them is older than the
//! period. So in no period begin more than the limit. Up to [`ENTRIES`] connections have an entry each, which makes small
//! limits exact; with a larger limit a place becomes free a fourteenth of the period late at most.

use std::collections::VecDeque;

use crate::core::Millis;

/// The number of entries.
pub(super) const ENTRIES: usize = 16;
/// In this part of the period connections become one entry if the limit is larger than [`ENTRIES`]: a period overlaps two
/// entries more.
pub(super) const PARTS: Millis = ENTRIES as Millis - 2;

/// The connections of a client that began recently.
#[derive(Debug, Default)]
pub(super) struct Begins {
    /// When the first one of the newest entry began.
    first: Millis,
    newest: Entry,
    /// The earlier ones, oldest first. A client whose connections begin together has none, and needs no allocation.
    earlier: VecDeque<Entry>,
}

/// Connections that began one after the other.
#[derive(Debug, Default, Clone, Copy)]
struct Entry {
    /// When the last one began.
    last: Millis,
    count: u32,
}

impl Begins {
    /// Counts a connection that begins at `now`, if fewer than `limit` began within the `period` before it, both ends
    /// included: times are whole milliseconds, rounded down.
    pub(super) fn admit(&mut self, now: Millis, period: Millis, limit: u32) -> bool {
        // The clock is read before the lock is taken.
        let now = now.max(self.newest.last);
        let is_over = |entry: &Entry| now - entry.last > period;
        while self.earlier.front().is_some_and(is_over) {
            self.earlier.pop_front();
        }
        if is_over(&self.newest) {
            self.newest.count = 0;
        }
        let count =
            self.earlier.iter().chain([&self.newest]).map(|entry| u64::from(entry.count)).sum::<u64>();
        if count >= u64::from(limit) {
            return false;
        }
        let joins = limit as usize > ENTRIES && now - self.first < period / PARTS;
        if self.newest.count > 0 && !joins && self.earlier.len() + 1 < ENTRIES {
            self.earlier.push_back(self.newest);
            self.newest.count = 0;
        }
        if self.newest.count == 0 {
            self.first = now;
        }
        self.newest = Entry { last: now, count: self.newest.count + 1 };
        true
    }

    /// How many connections of those that [`Begins::admit`] would count now began within the `period` before `now`.
    pub(super) fn count(&self, now: Millis, period: Millis) -> u64 {
        let now = now.max(self.newest.last);
        let counts = |entry: &&Entry| now - entry.last <= period;
        self.earlier.iter().chain([&self.newest]).filter(counts).map(|entry| u64::from(entry.count)).sum()
    }

    /// When the newest connection began; 0 if none was counted.
    pub(super) fn newest(&self) -> Millis {
        self.newest.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// How many of `times` lie within `period` before `now`.
    fn within(times: &[Millis], now: Millis, period: Millis) -> usize {
        times.iter().filter(|time| now - **time <= period).count()
    }

    #[test]
    fn a_client_whose_connections_begin_together_needs_no_allocation() {
        let mut begins = Begins::default();
        for now in 0..70 {
            assert!(begins.admit(now, 1000, 100));
        }
        for later in 1..100 {
            assert!(begins.admit(later * 2000, 1000, 3));
        }
        assert_eq!(begins.earlier.capacity(), 0);
    }

    proptest! {
        /// Against the exact times, for limits small and large, and pauses short and long.
        #[test]
        fn in_no_period_begin_more_than_the_limit(
            limit in prop_oneof![1u32..=20, 17u32..200],
            period in 1_000u64..20_000,
            pauses in prop::collection::vec(prop_oneof![9 => 0u64..40, 3 => 0u64..1500, 1 => 0u64..30_000], 0..300),
        ) {
            let mut begins = Begins::default();
            let mut times = Vec::new();
            let mut now = 0;
            for pause in pauses {
                now += pause;
                let counted = begins.count(now, period);
                let admitted = begins.admit(now, period, limit);
                prop_assert_eq!(admitted, counted < u64::from(limit), "{} counted", counted);
                let before = within(&times, now, period);
                if admitted {
                    prop_assert!(before < limit as usize, "{} before {}", before, now);
                    times.push(now);
                } else if limit as usize <= ENTRIES {
                    prop_assert_eq!(before, limit as usize, "refused at {}", now);
                } else {
                    let late = within(&times, now, period + period / PARTS);
                    prop_assert!(late >= limit as usize, "refused at {}: {} within a longer period", now, late);
                }
                prop_assert!(begins.earlier.len() < ENTRIES);
            }
        }

        /// The limit and its period may change at any time: what began before counts as far as it is remembered.
        #[test]
        fn changes_of_the_limit_keep_it_bounded(
            steps in prop::collection::vec((1u32..60, 1_000u64..9_000, 0u64..300), 0..300),
        ) {
            let mut begins = Begins::default();
            let mut now = 0;
            for (limit, period, pause) in steps {
                now += pause;
                let mut admitted = 0;
                while begins.admit(now, period, limit) {
                    admitted += 1;
                    prop_assert!(admitted <= limit);
                }
                prop_assert!(begins.earlier.len() < ENTRIES);
            }
        }
    }
}
