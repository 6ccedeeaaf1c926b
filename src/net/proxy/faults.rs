//! Connections that were closed for their PROXY header, or for want of one: counted, and reported once while it lasts.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::core::Millis;
use crate::core::error::SystemReason;
use crate::core::proxy::Malformed;
use crate::net::client_name::ClientName;
use crate::sys::log;

/// A header that is none, or does not come.
static WRONG: log::Condition = log::Condition::new();
/// Connections of addresses that may send none.
static DENIED: log::Condition = log::Condition::new();

/// How long nobody must have been denied for the log to say that it is over.
const CALM: Millis = 10_000;

/// Why a connection ends that was to begin with a header.
#[derive(Debug)]
pub(in crate::net) enum Fault {
    /// It begins with something else.
    Absent,
    /// The header breaks the protocol's rules.
    Malformed(Malformed),
    /// It did not come within that many milliseconds.
    Late(Millis),
    /// The connection ended within it.
    CutOff,
    /// The connection ended without a byte, as those do that only test whether pen is there.
    Empty,
    /// The connection broke.
    Broken(io::Error),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Absent => f.write_str("expected a PROXY header, got other bytes"),
            Fault::Malformed(malformed) => write!(f, "in its PROXY header: {malformed}"),
            Fault::Late(limit) => write!(f, "no whole PROXY header within {} s", *limit as f64 / 1000.0),
            Fault::CutOff => f.write_str("the connection ended within the PROXY header"),
            Fault::Empty => f.write_str("the connection ended before a PROXY header"),
            Fault::Broken(error) => SystemReason(error).fmt(f),
        }
    }
}

/// How many connections were closed, and why.
#[derive(Debug, Default)]
pub struct Faults {
    denied: AtomicU64,
    wrong: AtomicU64,
    late: AtomicU64,
    /// When one was denied last.
    last_denied: AtomicU64,
}

impl Faults {
    /// `sender` may not send a header, and one is required.
    pub(in crate::net) fn denied(&self, sender: ClientName, now: Millis) {
        self.denied.fetch_add(1, Relaxed);
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

    /// What came from `sender` is no header.
    pub(in crate::net) fn fault(&self, sender: ClientName, fault: &Fault) {
        log::debug(1, format_args!("{sender}: {fault}"));
        match fault {
            Fault::Empty | Fault::Broken(_) => return,
            Fault::Late(_) => self.late.fetch_add(1, Relaxed),
            Fault::Absent | Fault::Malformed(_) | Fault::CutOff => self.wrong.fetch_add(1, Relaxed),
        };
        WRONG.begin(format_args!("closing connections of {sender} and others: {fault}"));
    }

    /// A header was right, at `now`.
    pub(in crate::net) fn none(&self, now: Millis) {
        WRONG.end(format_args!("PROXY headers are right again"));
        if now.saturating_sub(self.last_denied.load(Relaxed)) >= CALM {
            DENIED.end(format_args!("nobody connects any more who may not send a PROXY header"));
        }
    }

    /// How many there were: of addresses that `proxy_acl` denies, with a wrong header, and with none in time.
    pub fn counts(&self) -> [u64; 3] {
        [&self.denied, &self.wrong, &self.late].map(|count| count.load(Relaxed))
    }
}
