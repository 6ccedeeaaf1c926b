//! Connections that were closed for their PROXY header, counted by reason.

use crate::core::counters::WordCounters;
use crate::core::settings::Keyword;
use crate::core::settings::keyword::keywords;

keywords! {
    /// Why a connection is closed for its PROXY header.
    HeaderFault {
        /// `proxy_acl` does not permit its sender to send one, and one is required.
        Denied = "denied",
        /// It begins with other data.
        Absent = "absent",
        /// The header breaks the rules of the protocol.
        Malformed = "malformed",
        /// It ended within the header.
        CutOff = "cut_off",
        /// The header was not complete in time.
        Late = "late",
    }
}

/// Counts such connections.
pub type HeaderFaults = WordCounters<HeaderFault, { HeaderFault::WORDS.len() }>;
