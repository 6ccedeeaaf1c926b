//! Datagrams that pen dropped: counted, and reported once for each cause.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::core::error::SystemReason;
use crate::core::standing_queue::TARGET;
use crate::sys::error::is_shortage;
use crate::sys::log;

/// No room for a new flow.
static FULL: log::Condition = log::Condition::new();
/// A flow cannot begin for lack of descriptors or memory.
static SHORT: log::Condition = log::Condition::new();
/// Datagrams wait too long in the receive buffer.
static LATE: log::Condition = log::Condition::new();
/// The send buffers of the system are full.
static BUSY: log::Condition = log::Condition::new();

/// The receive buffer of a socket that clients send to is full.
static OVERFLOW: log::Condition = log::Condition::new();

/// How many datagrams were dropped.
#[derive(Debug, Default)]
pub struct Drops {
    all: AtomicU64,
    busy: AtomicU64,
    overflowed: AtomicU64,
}

/// The counts at a call of [`Drops::look`].
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct DropCounts {
    busy: u64,
    overflowed: u64,
}

impl Drops {
    /// All of them, whatever the reason.
    pub fn count(&self) -> u64 {
        self.all.load(Relaxed)
    }

    fn add(&self) {
        self.all.fetch_add(1, Relaxed);
    }

    /// Counts a datagram that is dropped for a reason that goes to the debug log only.
    pub(super) fn because(&self, reason: &str) {
        self.add();
        log::debug(1, format_args!("datagram dropped: {reason}"));
    }

    /// Counts datagrams that have waited too long, since more arrive than pen can forward.
    pub(super) fn late(&self, count: usize) {
        self.all.fetch_add(count as u64, Relaxed);
        LATE.begin(format_args!(
            "UDP: datagrams arrive faster than they can be passed on, dropping those that waited {TARGET} ms"
        ));
    }

    /// Datagrams no longer wait too long.
    pub(super) fn in_time(&self) {
        LATE.end(format_args!("UDP: all datagrams are passed on in time again"));
    }

    /// Counts a datagram of a new client, since there are `limit` flows already.
    pub(super) fn full(&self, limit: usize) {
        self.add();
        FULL.begin(format_args!("UDP: dropping datagrams of new clients: there are {limit} flows"));
    }

    /// Counts a datagram of a new client, since the system gives no further socket.
    pub(super) fn short(&self, error: &io::Error) {
        self.add();
        SHORT.begin(format_args!("UDP: dropping datagrams of new clients: {}", SystemReason(error)));
    }

    /// A flow has begun.
    pub(super) fn admitted(&self) {
        FULL.end(format_args!("UDP: serving new clients again"));
        SHORT.end(format_args!("UDP: serving new clients again"));
    }

    /// A datagram could not be sent to `whom`.
    pub(super) fn unsent(&self, whom: &str, error: &io::Error) {
        self.add();
        if is_busy(error) {
            self.busy.fetch_add(1, Relaxed);
            BUSY.begin(format_args!("UDP: dropping datagrams, the system's buffers are full"));
        } else {
            log::debug(1, format_args!("datagram to {whom} dropped: {error}"));
        }
    }

    /// The system has dropped so many datagrams of clients before pen could receive them.
    pub(super) fn overflowed(&self, count: u32) {
        if count > 0 {
            self.all.fetch_add(count.into(), Relaxed);
            self.overflowed.fetch_add(count.into(), Relaxed);
            OVERFLOW.begin(format_args!("UDP: the receive buffer is full, the system drops datagrams"));
        }
    }

    /// Ends the reports of full buffers if no datagram was dropped for them since the last call, which returned `before`.
    pub(super) fn look(&self, before: DropCounts) -> DropCounts {
        let now = DropCounts { busy: self.busy.load(Relaxed), overflowed: self.overflowed.load(Relaxed) };
        if now.busy == before.busy {
            BUSY.end(format_args!("UDP: the system's buffers have room again"));
        }
        if now.overflowed == before.overflowed {
            OVERFLOW.end(format_args!("UDP: the receive buffer has room again"));
        }
        now
    }
}

/// Whether the system may take the next datagram.
fn is_busy(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || is_shortage(error)
}
