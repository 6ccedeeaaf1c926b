//! The limits of each client, as used by the code that accepts connections.

use std::fmt;
use std::time::Duration;

use crate::core::admission::limits::{ClientSlot, Limited};
use crate::core::affinity::Client;
use crate::core::refusals::Refusal;
use crate::core::snapshot::Snapshot;
use crate::sys::log;

use super::shared::Shared;

/// Counts a connection of `client` until the slot is dropped; clients of a Unix socket have none. `Err` when it must be
/// refused; that is counted, and reported once while it lasts.
pub(super) fn begin(
    shared: &Shared,
    snapshot: &Snapshot,
    client: Client,
) -> Result<Option<ClientSlot>, Limited> {
    static REFUSING: log::Condition = log::Condition::new();
    if client == Client::UNIX {
        return Ok(None);
    }
    let now = shared.now();
    match shared.limits.begin(client.masked(snapshot.client_mask), snapshot.allowance, now) {
        Ok(slot) => {
            let age = Duration::from_millis(shared.limits.calm_for(now));
            REFUSING.end_if_calm(age, format_args!("no client exceeds its limits any more"));
            Ok(Some(slot))
        }
        Err(limited) => {
            shared.refusals.count(match limited {
                Limited::Connections => Refusal::Connections,
                Limited::Rate => Refusal::Rate,
            });
            let reason = Reason(limited, snapshot);
            REFUSING.begin(format_args!("refusing connections of {client} and others like it: {reason}"));
            Err(limited)
        }
    }
}

struct Reason<'a>(Limited, &'a Snapshot);

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let allowed = self.1.allowance;
        match self.0 {
            Limited::Connections => write!(f, "client_conn_max is {}", allowed.connections),
            Limited::Rate => write!(f, "client_rate_max is {}", allowed.rate),
        }
    }
}
