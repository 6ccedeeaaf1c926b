//! What became of those who waited in the queue.

use crate::core::histogram::{Distribution, Histogram};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// How a wait in the queue has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueResult {
    /// A server had a place.
    Served,
    /// The queue was full: there was no wait.
    Full,
    /// The time of `queue_timeout` was over.
    TimedOut,
    /// No server was left to wait for.
    NoServer,
    /// The client has gone, or its connection was ended by a command.
    Gone,
}

impl QueueResult {
    /// All of them.
    pub const ALL: [QueueResult; 5] = [
        QueueResult::Served,
        QueueResult::Full,
        QueueResult::TimedOut,
        QueueResult::NoServer,
        QueueResult::Gone,
    ];

    /// The word for it in metrics.
    pub fn word(self) -> &'static str {
        match self {
            QueueResult::Served => "served",
            QueueResult::Full => "full",
            QueueResult::TimedOut => "timeout",
            QueueResult::NoServer => "no_server",
            QueueResult::Gone => "gone",
        }
    }
}

/// The results of all waits, and how long those took that ended with a server.
#[derive(Debug, Default)]
pub struct QueueCounts {
    results: [AtomicU64; QueueResult::ALL.len()],
    waits: Histogram,
}

impl QueueCounts {
    /// A wait of that time has ended.
    pub fn count(&self, result: QueueResult, waited: Duration) {
        if result == QueueResult::Served {
            self.waits.record(waited);
        }
        self.results[result as usize].fetch_add(1, Relaxed);
    }

    /// How many waits have ended so.
    pub fn of(&self, result: QueueResult) -> u64 {
        self.results[result as usize].load(Relaxed)
    }

    /// How long the waits took that ended with a server.
    pub fn waits(&self) -> Distribution {
        self.waits.read()
    }
}
