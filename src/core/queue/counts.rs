//! What became of those who waited in the queue.

use crate::core::counters::WordCounters;
use crate::core::histogram::{Distribution, Histogram};
use crate::core::settings::Keyword;
use crate::core::settings::keyword::keywords;
use std::time::Duration;

keywords! {
    /// How a wait in the queue has ended.
    QueueResult {
        /// A server had a place.
        Served = "served",
        /// The queue was full: there was no wait.
        Full = "full",
        /// The time of `queue_timeout` was over.
        TimedOut = "timeout",
        /// No server was left to wait for.
        NoServer = "no_server",
        /// The client has gone, or its connection was ended by a command.
        Gone = "gone",
    }
}

/// The results of all waits, and how long those took that ended with a server.
#[derive(Debug, Default)]
pub struct QueueCounts {
    results: WordCounters<QueueResult, { QueueResult::WORDS.len() }>,
    waits: Histogram,
}

impl QueueCounts {
    /// A wait of that time has ended.
    pub fn count(&self, result: QueueResult, waited: Duration) {
        if result == QueueResult::Served {
            self.waits.record(waited);
        }
        self.results.count(result);
    }

    /// The number of waits for each result.
    pub fn read(&self) -> Vec<(&'static str, u64)> {
        self.results.read()
    }

    /// How long the waits took that ended with a server.
    pub fn waits(&self) -> Distribution {
        self.waits.read()
    }
}
