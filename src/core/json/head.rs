//! What the documents have in common.

use serde::Serialize;

/// What every document begins with.
#[derive(Debug, Clone, Serialize)]
pub struct Head {
    /// When it was begun, as RFC 3339 has it, in local time with its zone.
    pub time: String,
}
