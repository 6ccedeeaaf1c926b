//! What a connection is asked to do by others than the task that serves it.

use std::sync::OnceLock;
use std::sync::atomic::{
    AtomicU8,
    Ordering::{Acquire, Relaxed, Release},
};
use std::task::Waker;

/// To look at settings again that concern connections in progress.
pub(super) const LOOK: u8 = 1;
/// To end.
pub(super) const END: u8 = 2;

/// What a connection is asked to do.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionRequests {
    /// To look at settings again that concern connections in progress.
    pub look: bool,
    /// To end.
    pub end: bool,
}

/// What one connection was asked to do and has not done yet.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    requests: AtomicU8,
    waker: OnceLock<Waker>,
}

impl Inbox {
    /// The task that looks at it, once.
    pub(super) fn wakes(&self, task: &Waker) {
        _ = self.waker.set(task.clone());
    }

    /// Asks for [`LOOK`] or [`END`]. False when no task looks at it yet.
    pub(super) fn ask(&self, what: u8) -> bool {
        self.requests.fetch_or(what, Release);
        let waker = self.waker.get();
        if let Some(waker) = waker {
            waker.wake_by_ref();
        }
        waker.is_some()
    }

    /// Whether anything was asked for that was not taken.
    pub(super) fn is_asked(&self) -> bool {
        self.requests.load(Relaxed) != 0
    }

    /// What was asked for since this was called last.
    pub(super) fn take(&self) -> Option<ConnectionRequests> {
        // Asked for every message, hence first without a locked instruction.
        if self.requests.load(Relaxed) == 0 {
            return None;
        }
        let requests = self.requests.swap(0, Acquire);
        Some(ConnectionRequests { look: requests & LOOK != 0, end: requests & END != 0 })
    }
}
