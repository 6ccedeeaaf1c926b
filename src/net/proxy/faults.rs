//! Connections that were closed because of a wrong or missing PROXY header: counted, and reported once while it lasts.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::core::Millis;
use crate::core::error::SystemReason;
use crate::core::proxy::{HeaderFault, HeaderFaults, Malformed};
use crate::net::client_name::ClientName;
use crate::sys::log;

/// Wrong or missing headers.
static WRONG: log::Condition = log::Condition::new();
/// Connections from addresses that may not send a header.
static DENIED: log::Condition = log::Condition::new();

/// Why a connection that must begin with a header ends.
#[derive(Debug)]
pub(in crate::net) enum ProxyFault {
    /// It begins with other data.
    Absent,
    /// The header breaks the protocol's rules.
    Malformed(Malformed),
    /// It did not arrive within this many milliseconds.
    Late(Millis),
    /// The connection ended within the header.
    CutOff,
    /// The connection ended without a byte, as do those that only test whether pen is there.
    Empty,
    /// The connection broke.
    Broken(io::Error),
}

impl fmt::Display for ProxyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProxyFault::Absent => f.write_str("expected a PROXY header, got other bytes"),
            ProxyFault::Malformed(malformed) => write!(f, "in its PROXY header: {malformed}"),
            ProxyFault::Late(limit) => {
                write!(f, "no complete PROXY header within {} s", *limit as f64 / 1000.0)
            }
            ProxyFault::CutOff => f.write_str("the connection ended within the PROXY header"),
            ProxyFault::Empty => f.write_str("the connection ended before a PROXY header"),
            ProxyFault::Broken(error) => SystemReason(error).fmt(f),
        }
    }
}

/// The closed connections.
#[derive(Debug, Default)]
pub struct Faults {
    counts: HeaderFaults,
    /// When a sender was last denied.
    last_denied: AtomicU64,
}

impl Faults {
    /// `sender` may not send a header, although one is required.
    pub(in crate::net) fn denied(&self, sender: ClientName, now: Millis) {
        self.counts.count(HeaderFault::Denied);
        self.last_denied.store(now, Relaxed);
        log::debug(
            1,
            format_args!("{sender}: closed, as proxy_acl does not permit it to send a PROXY header"),
        );
        DENIED.begin(format_args!(
            "closing connections of {sender} and others: proxy_protocol requires a PROXY header, and proxy_acl does not \
             permit them to send one"
        ));
    }

    /// `sender` sent a wrong header, or none.
    pub(in crate::net) fn fault(&self, sender: ClientName, fault: &ProxyFault) {
        log::debug(1, format_args!("{sender}: {fault}"));
        self.counts.count(match fault {
            ProxyFault::Empty | ProxyFault::Broken(_) => return,
            ProxyFault::Absent => HeaderFault::Absent,
            ProxyFault::Malformed(_) => HeaderFault::Malformed,
            ProxyFault::CutOff => HeaderFault::CutOff,
            ProxyFault::Late(_) => HeaderFault::Late,
        });
        WRONG.begin(format_args!("closing connections of {sender} and others: {fault}"));
    }

    /// A correct header was received at `now`.
    pub(in crate::net) fn none(&self, now: Millis) {
        WRONG.end(format_args!("PROXY headers are valid again"));
        let age = Duration::from_millis(now.saturating_sub(self.last_denied.load(Relaxed)));
        DENIED.end_if_calm(
            age,
            format_args!("no more connections from addresses that may not send a PROXY header"),
        );
    }

    /// How many there were, for each reason.
    pub fn counts(&self) -> &HeaderFaults {
        &self.counts
    }
}
