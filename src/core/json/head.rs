//! The fields that all documents share.

use serde::Serialize;

/// The first fields of every document.
#[derive(Debug, Clone, Serialize)]
pub struct Head {
    /// The time at which the document was begun, in RFC 3339 form, in local time with its zone.
    pub time: String,
}
