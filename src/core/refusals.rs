//! Clients that were refused, counted by reason.

use super::counters::WordCounters;
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

/// Counts refused connections, and datagrams that would have begun a flow.
pub type Refusals = WordCounters<Refusal, { Refusal::WORDS.len() }>;
