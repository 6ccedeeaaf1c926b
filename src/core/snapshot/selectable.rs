//! What the rules of selection compare, of all servers side by side in memory: with hundreds of servers, every new client
//! reads all of it.

use std::sync::Arc;

use crate::core::backend::ServerStats;
use crate::core::settings::AdminState;

use super::backend::Backend;

/// A server that may be selected, unless its state is `maint`.
#[derive(Debug)]
pub struct Selectable {
    /// Its slot.
    pub slot: usize,
    /// See [`Backend::identity`].
    pub identity: u64,
    /// See [`Backend::weight`].
    pub weight: u32,
    /// See [`Backend::prio`].
    pub prio: u32,
    /// See [`Backend::stats`].
    pub stats: Arc<ServerStats>,
}

impl Selectable {
    /// Those of the servers by slot.
    pub(super) fn all(backends: &[Option<Arc<Backend>>]) -> Box<[Selectable]> {
        let used = backends.iter().enumerate().filter_map(|(slot, one)| Some((slot, one.as_ref()?)));
        used.filter(|(_, one)| one.admin_state != AdminState::Maint)
            .map(|(slot, one)| Selectable {
                slot,
                identity: one.identity,
                weight: one.weight,
                prio: one.prio,
                stats: Arc::clone(&one.stats),
            })
            .collect()
    }
}
