//! How a connection ended, in one word.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use super::settings::Keyword;
use super::settings::keyword::keywords;

keywords! {
    /// How a connection, or a flow of datagrams, ended. penctl(1) has a table of the words, which a test compares with this one.
    EndReason {
        /// The client ended first, or gave up before it had a server.
        ClientClosed = "client-closed",
        /// The server ended first.
        ServerClosed = "server-closed",
        /// The client broke off: with RST, within a TLS record, or by no longer acknowledging TCP data.
        ClientReset = "client-reset",
        /// The server broke off in the same way.
        ServerReset = "server-reset",
        /// No bytes were transferred for `idle_timeout`.
        Idle = "idle",
        /// No server accepted it.
        NoServer = "no-server",
        /// It had waited for a place at a server for as long as `queue_timeout` allows.
        QueueTimeout = "queue-timeout",
        /// The list of `client_acl`, or of `proxy_acl`, denies the client.
        Denied = "denied",
        /// The client had reached one of its limits.
        Limited = "limited",
        /// A required PROXY header was missing, invalid, or late.
        ProxyFailed = "proxy-failed",
        /// The TLS handshake failed or timed out.
        HandshakeFailed = "handshake-failed",
        /// A request in HTTP mode could not be passed on.
        BadRequest = "bad-request",
        /// A command ended it.
        ClosedByCommand = "closed-by-command",
        /// A check found its server down, and `on_down` is `close`.
        ServerDown = "server-down",
        /// It made room for another one.
        Evicted = "evicted",
        /// Pen lacked descriptors or memory.
        Shortage = "shortage",
        /// Pen answered itself, because of the command `dummy`.
        Dummy = "dummy",
        /// Pen ended.
        Shutdown = "shutdown",
        /// An internal error of pen, which is in its log.
        InternalError = "internal-error",
    }
}

impl EndReason {
    /// The number of reasons.
    pub const COUNT: usize = Self::WORDS.len();
}

/// The first reason of several that threads give, in one byte: each connection has two.
#[derive(Debug, Default)]
pub struct FirstReason(
    /// 0 as long as there is none, else its index and one.
    AtomicU8,
);

impl FirstReason {
    /// Gives a reason, which counts if it is the first one.
    pub fn set(&self, reason: EndReason) {
        _ = self.0.compare_exchange(0, reason as u8 + 1, Relaxed, Relaxed);
    }

    /// The first reason, if there is one.
    pub fn get(&self) -> Option<EndReason> {
        EndReason::ALL.get(usize::from(self.0.load(Relaxed)).checked_sub(1)?).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_counts() {
        for reason in EndReason::ALL {
            let first = FirstReason::default();
            assert_eq!(first.get(), None);
            first.set(*reason);
            first.set(EndReason::InternalError);
            assert_eq!(first.get(), Some(*reason));
        }
    }
}
