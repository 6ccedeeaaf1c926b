//! The rule of selection in force, and what goes with it.

use crate::core::settings::Settings;

/// The rule by which a server is chosen for a new client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// The lowest `prio`.
    Prio,
    /// The fewest connections relative to the `weight`.
    Weight,
    /// The hash of the client's address.
    Hash,
    /// The next one after the last.
    RoundRobin,
}

/// How a server is selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// The rule.
    pub algorithm: Algorithm,
    /// A connection is closed if its first choice fails.
    pub stubborn: bool,
    /// A client is sent back to its last server.
    pub affinity: bool,
    /// The hash distinguishes connections of one client by their port.
    pub hash_port: bool,
}

impl Policy {
    pub(super) fn of(settings: &Settings) -> Self {
        let rules = [
            (settings.prio, Algorithm::Prio),
            (settings.weight, Algorithm::Weight),
            (settings.hash, Algorithm::Hash),
        ];
        let first = rules.into_iter().find_map(|(on, rule)| on.then_some(rule));
        Policy {
            algorithm: first.unwrap_or(Algorithm::RoundRobin),
            stubborn: settings.stubborn,
            affinity: !settings.roundrobin && !settings.nomemory,
            hash_port: settings.roundrobin,
        }
    }
}
