//! What the documents have in common.

use crate::core::Millis;
use serde::Serialize;

/// What every document begins with.
#[derive(Debug, Clone, Serialize)]
pub struct Head {
    /// When it was begun, as RFC 3339 has it, in local time with its zone.
    pub time: String,
}

/// Seconds with three decimals, of a time in milliseconds.
pub(crate) fn seconds(millis: Millis) -> f64 {
    millis as f64 / 1000.0
}
