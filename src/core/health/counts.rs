//! How the checks of a server have ended, and how long they took.

use crate::core::histogram::{Distribution, Histogram};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The results of one check of one server.
#[derive(Debug, Default)]
pub struct CheckCounts {
    success: AtomicU64,
    failure: AtomicU64,
    unknown: AtomicU64,
    times: Histogram,
}

impl CheckCounts {
    /// A check has ended after that time; `None` if it says nothing about the server, for a reason on pen's side.
    pub fn count(&self, success: Option<bool>, took: Duration) {
        let counter = match success {
            Some(true) => &self.success,
            Some(false) => &self.failure,
            None => &self.unknown,
        };
        counter.fetch_add(1, Relaxed);
        self.times.record(took);
    }

    /// The number of checks by result.
    pub fn results(&self) -> [(&'static str, u64); 3] {
        [("success", &self.success), ("failure", &self.failure), ("unknown", &self.unknown)]
            .map(|(result, count)| (result, count.load(Relaxed)))
    }

    /// The durations of the checks, whatever their result.
    pub fn times(&self) -> Distribution {
        self.times.read()
    }
}
