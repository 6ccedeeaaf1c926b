//! Metrics of connections without a server: those in the queue, and those that `tarpit_acl` holds.

use std::fmt;

use crate::core::histogram::Distribution;

use super::family::{Family, FamilyWriter, counter, encode_histogram, gauge, histogram};

/// Connections without a server.
#[derive(Debug, Clone)]
pub struct Unserved {
    /// The number of connections in the queue.
    pub queued: usize,
    /// The limit of them.
    pub queue_max: usize,
    /// Ended waits by result.
    pub queue_results: Vec<(&'static str, u64)>,
    /// The durations of the waits that ended with a server.
    pub queue_times: Distribution,
    /// The number of connections that are held.
    pub held: usize,
    /// The limit of them.
    pub held_max: usize,
    /// Connections that `tarpit_acl` denied, by result.
    pub tarpit_results: [(&'static str, u64); 2],
}

pub(super) const QUEUE_CONNECTIONS: Family =
    gauge("pen_queue_connections", "Connections that wait for a server");
pub(super) const QUEUE_LIMIT: Family =
    gauge("pen_queue_connections_limit", "Most connections that may wait, 0 for none");
pub(super) const QUEUE_RESULTS: Family =
    counter("pen_queue_results", "Waits for a server, by how they ended");
pub(super) const QUEUE_TIME: Family =
    histogram("pen_queue_duration_seconds", "How long the waits took that ended with a server");
pub(super) const TARPIT_CONNECTIONS: Family =
    gauge("pen_tarpit_connections", "Connections that tarpit_acl holds");
pub(super) const TARPIT_LIMIT: Family =
    gauge("pen_tarpit_connections_limit", "Most connections that it holds");
pub(super) const TARPIT_RESULTS: Family =
    counter("pen_tarpit_results", "Connections that tarpit_acl denied, by what became of them");

impl Unserved {
    pub(super) fn encode(&self, out: &mut FamilyWriter<'_>) -> fmt::Result {
        let result = |(result, count): &(&'static str, u64)| ([("result", *result)], *count);
        out.gauge(QUEUE_CONNECTIONS, Some(self.queued))?;
        out.gauge(QUEUE_LIMIT, Some(self.queue_max))?;
        out.counters(QUEUE_RESULTS, self.queue_results.iter().map(result))?;
        let times = &self.queue_times;
        encode_histogram(out.family(QUEUE_TIME)?, (times.sum_seconds(), times.count()), times.ranges())?;
        out.gauge(TARPIT_CONNECTIONS, Some(self.held))?;
        out.gauge(TARPIT_LIMIT, Some(self.held_max))?;
        out.counters(TARPIT_RESULTS, self.tarpit_results.iter().map(result))
    }
}
