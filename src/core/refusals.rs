//! Clients that were refused, counted by reason.

use super::counters::Counters;
use super::settings::Keyword;
use super::settings::keyword::keywords;

keywords! {
    /// Why a client is refused.
    Refusal {
        /// `client_acl` or `proxy_acl` denies it.
        Denied = "denied",
        /// It has as many connections as `client_conn_max` allows.
        Connections = "client_conn_max",
        /// It has begun as many connections as `client_rate_max` allows.
        Rate = "client_rate_max",
        /// It has as many flows as `udp_flows_per_client` allows.
        Flows = "udp_flows_per_client",
    }
}

/// The number of reasons.
const REASONS: usize = Refusal::WORDS.len();

/// Counts refused connections, and datagrams that would have begun a flow.
#[derive(Debug, Default)]
pub struct Refusals(Counters<REASONS>);

impl Refusals {
    /// One more is refused.
    pub fn count(&self, refusal: Refusal) {
        self.0.count(refusal as usize);
    }

    /// How many connections a limit of clients has refused.
    pub fn by_limits(&self) -> u64 {
        let totals = self.0.totals();
        [Refusal::Connections, Refusal::Rate].iter().map(|refusal| totals[*refusal as usize]).sum()
    }

    /// The number of refusals for each reason.
    pub fn read(&self) -> [(&'static str, u64); REASONS] {
        let totals = self.0.totals();
        std::array::from_fn(|n| (Refusal::WORDS[n], totals[n]))
    }
}
