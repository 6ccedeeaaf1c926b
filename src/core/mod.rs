//! The balancer as pure code: no sockets, no clock, no randomness, no tokio. Time and seeds are passed in.

pub mod acl;
pub mod addr;
pub mod address_order;
pub mod admission;
pub mod affinity;
pub mod alpn;
pub mod backend;
pub mod command;
pub mod config;
pub mod config_file;
pub mod connection_ends;
pub mod connection_line;
pub mod counters;
#[cfg(test)]
mod counting_waker;
pub mod end_reason;
pub mod error;
pub mod flow_table;
pub mod handshakes;
pub mod hash;
pub mod health;
pub mod hello_framing;
pub mod histogram;
pub mod http;
pub mod json;
pub mod lexer;
pub mod log_target;
pub mod number_set;
pub mod proxy;
pub mod queue;
pub mod refusals;
pub mod report;
pub mod select;
pub mod settings;
pub mod snapshot;
pub mod sni_route;
pub mod standing_queue;
pub mod state;
pub mod state_changes;
pub mod tls_peer;
pub mod tls_session;
pub mod traffic;
pub mod upstream_tls;

pub use error::{Error, one_line};

/// Milliseconds on a clock that never goes back, from an origin the caller chose.
pub type Millis = u64;

/// A time in milliseconds, at most the greatest number of them.
pub fn millis(time: std::time::Duration) -> Millis {
    Millis::try_from(time.as_millis()).unwrap_or(Millis::MAX)
}
