//! Counts of how connections ended and how long they lasted.

use std::time::Duration;

use super::counters::Counters;
use super::end_reason::EndReason;
use super::millis;
use super::settings::Keyword;

/// The upper bounds of the ranges of durations, in milliseconds. One more range has no upper bound.
const BOUNDS_MILLIS: [u64; 15] =
    [1, 5, 10, 50, 100, 500, 1_000, 5_000, 10_000, 30_000, 60_000, 300_000, 600_000, 1_800_000, 3_600_000];
/// The number of ranges, including the one without an upper bound.
const RANGES: usize = BOUNDS_MILLIS.len() + 1;
/// The index of the sum of all durations in milliseconds.
const SUM: usize = EndReason::COUNT + RANGES;

/// Counts ends of connections: by reason, and by duration for those that were served.
#[derive(Debug, Default)]
pub struct ConnectionEnds(Counters<{ SUM + 1 }>);

impl ConnectionEnds {
    /// Counts a connection that was not served, and ended for `reason`.
    pub fn refused(&self, reason: EndReason) {
        self.0.count(reason as usize);
    }

    /// Counts a connection that lasted this long.
    pub fn ended(&self, reason: EndReason, lasted: Duration) {
        let millis = millis(lasted);
        self.0.count(reason as usize);
        self.0.count(EndReason::COUNT + BOUNDS_MILLIS.partition_point(|bound| *bound < millis));
        self.0.add(SUM, millis);
    }

    /// The counts so far.
    pub fn read(&self) -> EndCounts {
        EndCounts(self.0.totals())
    }
}

/// The counts of [`ConnectionEnds`].
#[derive(Debug, Clone, Copy)]
pub struct EndCounts([u64; SUM + 1]);

impl EndCounts {
    /// The word of each reason, and the number of connections that ended for it.
    pub fn reasons(&self) -> impl Iterator<Item = (&'static str, u64)> {
        EndReason::WORDS.iter().copied().zip(self.0)
    }

    /// For each range of durations its upper bound in seconds (infinity for the last) and the number of connections in
    /// it.
    pub fn ranges(&self) -> impl Iterator<Item = (f64, u64)> {
        let ends = BOUNDS_MILLIS.iter().map(|millis| *millis as f64 / 1e3).chain([f64::INFINITY]);
        ends.zip(self.0[EndReason::COUNT..SUM].iter().copied())
    }

    /// The sum of all durations, in seconds.
    pub fn sum_seconds(&self) -> f64 {
        self.0[SUM] as f64 / 1e3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_counted_by_reason_and_by_duration() {
        let ends = ConnectionEnds::default();
        ends.refused(EndReason::Denied);
        ends.ended(EndReason::InternalError, Duration::from_millis(1));
        ends.ended(EndReason::InternalError, Duration::from_secs(4000));
        let read = ends.read();
        let reasons: Vec<_> = read.reasons().filter(|(_, count)| *count > 0).collect();
        assert_eq!(reasons, [("denied", 1), ("internal-error", 2)]);
        let ranges: Vec<_> = read.ranges().filter(|(_, count)| *count > 0).collect();
        assert_eq!(ranges, [(0.001, 1), (f64::INFINITY, 1)]);
        assert!((read.sum_seconds() - 4000.001).abs() < 1e-9);
    }
}
