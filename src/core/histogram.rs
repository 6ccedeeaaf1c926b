//! Durations counted in ranges, as Prometheus histograms are.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The upper bounds of the ranges, in microseconds. One more range has no upper bound.
pub const BOUNDS_MICROS: [u64; 16] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000,
];
/// The number of ranges, including the one without an upper bound.
const RANGES: usize = BOUNDS_MICROS.len() + 1;

/// A histogram that several threads add to.
#[derive(Debug, Default)]
pub struct Histogram {
    ranges: [AtomicU64; RANGES],
    sum_micros: AtomicU64,
}

impl Histogram {
    /// Counts a duration.
    pub fn record(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let range = BOUNDS_MICROS.partition_point(|bound| *bound < micros);
        self.ranges[range].fetch_add(1, Relaxed);
        self.sum_micros.fetch_add(micros, Relaxed);
    }

    /// The counts so far.
    pub fn read(&self) -> Distribution {
        Distribution {
            ranges: self.ranges.each_ref().map(|range| range.load(Relaxed)),
            sum_micros: self.sum_micros.load(Relaxed),
        }
    }
}

/// The contents of a histogram.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Distribution {
    ranges: [u64; RANGES],
    sum_micros: u64,
}

impl Distribution {
    /// The number of durations.
    pub fn count(&self) -> u64 {
        self.ranges.iter().sum()
    }

    /// Their sum, in seconds.
    pub fn sum_seconds(&self) -> f64 {
        self.sum_micros as f64 / 1e6
    }

    /// For each range its upper bound in seconds (infinity for the last) and the number of durations in it.
    pub fn ranges(&self) -> impl Iterator<Item = (f64, u64)> {
        let ends = BOUNDS_MICROS.iter().map(|micros| *micros as f64 / 1e6).chain([f64::INFINITY]);
        ends.zip(self.ranges)
    }

    /// The quantile `q` in seconds, as Prometheus estimates it: durations are taken to be spread evenly within a range,
    /// and those beyond the last bound to equal it. `None` when nothing was counted.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let rank = q * self.count() as f64;
        let (mut below, mut start) = (0.0, 0.0);
        for (end, count) in self.ranges() {
            let count = count as f64;
            if count > 0.0 && below + count >= rank {
                return Some(if end.is_finite() {
                    start + (end - start) * ((rank - below) / count)
                } else {
                    start
                });
            }
            below += count;
            start = end;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quantiles_are_those_of_the_range() {
        let histogram = Histogram::default();
        assert_eq!(histogram.read().quantile(0.5), None);
        for _ in 0..99 {
            histogram.record(Duration::from_micros(700));
        }
        histogram.record(Duration::from_secs(60));
        let read = histogram.read();
        assert_eq!(read.count(), 100);
        let median = read.quantile(0.5).unwrap();
        assert!((0.0005..0.001).contains(&median), "{median}");
        assert_eq!(read.quantile(1.0), Some(5.0));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_each_is_in_its_range(micros in prop::collection::vec(0u64..20_000_000, 1..50)) {
            let histogram = Histogram::default();
            micros.iter().for_each(|m| histogram.record(Duration::from_micros(*m)));
            let read = histogram.read();
            prop_assert_eq!(read.count(), micros.len() as u64);
            prop_assert!((read.sum_seconds() - micros.iter().sum::<u64>() as f64 / 1e6).abs() < 1e-6);
            let mut below = 0;
            for (end, count) in read.ranges() {
                below += count;
                let model = micros.iter().filter(|m| **m as f64 / 1e6 <= end).count() as u64;
                prop_assert_eq!(below, model);
            }
        }
    }
}
