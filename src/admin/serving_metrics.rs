//! Metrics of the outcome of connections and of reloads.

use std::fmt;

use crate::core::connection_ends::EndCounts;
use crate::core::handshakes::HandshakeCount;

use super::family::{Family, FamilyWriter, counter, encode_histogram, histogram};

/// The outcome of connections, and reloads.
#[derive(Debug, Clone)]
pub struct ServingTotals {
    /// How connections ended, and how long they lasted.
    pub ends: EndCounts,
    /// Refused clients by reason.
    pub refusals: Vec<(&'static str, u64)>,
    /// Connections closed for their PROXY header, by reason.
    pub header_faults: Vec<(&'static str, u64)>,
    /// TLS handshakes.
    pub handshakes: Vec<HandshakeCount>,
    /// Reloads by result.
    pub reloads: [(&'static str, u64); 2],
}

pub(super) const CONNECTION_ENDS: Family =
    counter("pen_connection_ends", "Connections that have ended, by how they ended");
pub(super) const CONNECTION_TIME: Family =
    histogram("pen_connection_duration_seconds", "How long the connections lasted that have ended");
pub(super) const CLIENTS_REFUSED: Family =
    counter("pen_clients_refused", "Connections and flows that were refused to their client, by reason");
pub(super) const HEADER_FAULTS: Family =
    counter("pen_proxy_header_faults", "Connections closed for a missing or wrong PROXY header, by reason");
pub(super) const TLS_HANDSHAKES: Family =
    counter("pen_tls_handshakes", "TLS handshakes with clients, by version and result");
pub(super) const RELOADS: Family = counter("pen_reloads", "Reloads of the configuration, by result");

impl ServingTotals {
    pub(super) fn encode(&self, out: &mut FamilyWriter<'_>) -> fmt::Result {
        out.counters(CONNECTION_ENDS, self.ends.reasons().map(|(reason, n)| ([("reason", reason)], n)))?;
        let sum = (self.ends.sum_seconds(), self.ends.ranges().map(|(_, count)| count).sum());
        encode_histogram(out.family(CONNECTION_TIME)?, sum, self.ends.ranges())?;
        for (family, counts) in [(CLIENTS_REFUSED, &self.refusals), (HEADER_FAULTS, &self.header_faults)] {
            out.counters(family, counts.iter().map(|(reason, n)| ([("reason", *reason)], *n)))?;
        }
        let labels = |h: &HandshakeCount| ([("version", h.version), ("result", h.result)], h.count);
        out.counters(TLS_HANDSHAKES, self.handshakes.iter().map(labels))?;
        out.counters(RELOADS, self.reloads.iter().map(|(result, n)| ([("result", *result)], *n)))
    }
}
