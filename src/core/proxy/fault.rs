//! Connections that were closed for their PROXY header, counted by reason.

use crate::core::counters::Counters;
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

/// The number of reasons.
const REASONS: usize = HeaderFault::WORDS.len();

/// Counts such connections.
#[derive(Debug, Default)]
pub struct HeaderFaults(Counters<REASONS>);

impl HeaderFaults {
    /// One more is closed.
    pub fn count(&self, fault: HeaderFault) {
        self.0.count(fault as usize);
    }

    /// The number of them.
    pub fn total(&self) -> u64 {
        self.0.totals().iter().sum()
    }

    /// The number of them for each reason.
    pub fn read(&self) -> [(&'static str, u64); REASONS] {
        let totals = self.0.totals();
        std::array::from_fn(|n| (HeaderFault::WORDS[n], totals[n]))
    }
}
