//! A server as people look at it: its row, its check, and why it stands as it does.

use crate::core::Millis;
use crate::core::backend::Standing;
use crate::core::snapshot::Backend;

use super::check::CheckRow;
use super::server::{ServerRow, ServerState};

/// A server, with what is known of its state.
#[derive(Debug, Clone)]
pub struct ObservedServer {
    /// Its row.
    pub row: ServerRow,
    /// Its check, if it has one.
    pub check: Option<CheckRow>,
    /// Why it is not up, as far as that is known.
    pub reason: Option<String>,
}

impl ObservedServer {
    /// The server of `backend` at `now`.
    pub fn new(backend: &Backend, now: Millis) -> Self {
        ObservedServer {
            row: ServerRow::new(backend, now),
            check: CheckRow::new(backend, now),
            reason: reason(backend, now),
        }
    }
}

/// Why a server is not up, as far as that is known.
pub fn reason(backend: &Backend, now: Millis) -> Option<String> {
    let failed_connect = || backend.stats.last_failure().map(|reason| reason.to_string());
    match ServerState::of(backend, now) {
        ServerState::Down => {
            // After a success it stays down until there are as many in a row as `rise` says.
            let last = backend.stats.last_check()?;
            Some(if last.success { "not enough successes yet".into() } else { last.reason.clone() })
        }
        ServerState::Blacklisted => match backend.stats.standing(now) {
            Standing::Ordered(_) => Some("by command".into()),
            _ => failed_connect(),
        },
        ServerState::Retrying => failed_connect(),
        ServerState::Unknown if backend.check_pauses => Some("it is not checked in maintenance".into()),
        ServerState::Unknown => Some("no result of its check yet".into()),
        ServerState::Unresolved => Some("its name has no address".into()),
        ServerState::Unused => Some("it has no port".into()),
        ServerState::Up | ServerState::Removed => None,
    }
}
