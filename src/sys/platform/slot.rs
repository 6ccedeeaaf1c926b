//! What an event port keeps for a socket: the reported events, the waiting task and the lane.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Poll, Waker};

use super::carried::{Carried, Carrier, Rest};
use super::events::{CLOSED, ERROR, READABLE, URGENT, WRITABLE};

/// The place of a socket in an event port.
#[derive(Debug, Default)]
pub(super) struct Slot {
    events: AtomicU32,
    listeners: Mutex<Listeners>,
}

/// Who is to know of events.
#[derive(Debug, Default)]
struct Listeners {
    waker: Option<Waker>,
    lane: Option<Arc<Lane>>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while such a lock is held leaves the value consistent.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Slot {
    /// Adds `events`; wakes the waiting task when some of them are new.
    pub(super) fn tell(&self, events: u32) {
        if events & !self.events.fetch_or(events, Relaxed) != 0
            && let Some(waker) = &lock(&self.listeners).waker
        {
            waker.wake_by_ref();
        }
    }

    /// Ready when any of `events` has been reported; else keeps the waker, which replaces the one before.
    #[inline]
    pub(super) fn poll_any(&self, waker: &Waker, events: u32) -> Poll<()> {
        if self.any(events) {
            return Poll::Ready(());
        }
        let mut listeners = lock(&self.listeners);
        if !listeners.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            listeners.waker = Some(waker.clone());
        }
        Poll::Pending
    }

    /// Whether any of `events` has been reported.
    #[inline]
    pub(super) fn any(&self, events: u32) -> bool {
        self.events.load(Relaxed) & events != 0
    }

    #[inline]
    pub(super) fn clear(&self, events: u32) {
        self.events.fetch_and(!events, Relaxed);
    }

    pub(super) fn set_lane(&self, lane: Option<Arc<Lane>>) {
        lock(&self.listeners).lane = lane;
    }

    /// The lane and the slot of its destination, if the lane may carry what `events` tell of: bytes, and nothing unusual at
    /// either end.
    pub(super) fn lane_for(&self, events: u32) -> Option<(Arc<Lane>, Arc<Slot>)> {
        if events & READABLE == 0
            || events & (CLOSED | ERROR | URGENT) != 0
            || self.any(READABLE | CLOSED | ERROR | URGENT)
        {
            return None;
        }
        let listeners = lock(&self.listeners);
        let lane =
            listeners.lane.as_ref().filter(|lane| lane.is_open.load(Relaxed) && lane.carrier.may_carry())?;
        // A slot lives as long as its socket.
        let destination = lane.to.upgrade().filter(|to| to.any(WRITABLE) && !to.any(ERROR))?;
        Some((Arc::clone(lane), destination))
    }
}

/// A way from one socket to another for messages that need no look at anything else, which the event port carries itself while
/// the lane is open.
pub(in crate::sys) struct Lane {
    pub(super) source: RawFd,
    pub(super) destination: RawFd,
    to: Weak<Slot>,
    is_open: AtomicBool,
    has_news: AtomicBool,
    carrier: Box<dyn Carrier>,
    carried: Mutex<Carried>,
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lane").field("carried", &self.carried).finish_non_exhaustive()
    }
}

impl Lane {
    /// A closed lane for `carrier`.
    pub(super) fn new(
        source: RawFd,
        (destination, to): (RawFd, &Arc<Slot>),
        carrier: Box<dyn Carrier>,
    ) -> Self {
        Self {
            source,
            destination,
            to: Arc::downgrade(to),
            is_open: AtomicBool::new(false),
            has_news: AtomicBool::new(false),
            carrier,
            carried: Mutex::default(),
        }
    }

    /// Opens or closes it. It is to be open only while its task waits for the source, has delivered all that it has read, and
    /// wants to see nothing of what comes.
    #[inline]
    pub(in crate::sys) fn set_open(&self, open: bool) {
        self.is_open.store(open, Relaxed);
    }

    /// What it has carried since this was last asked, if anything.
    #[inline]
    pub(in crate::sys) fn take(&self) -> Option<Carried> {
        if !self.has_news.load(Relaxed) {
            return None;
        }
        self.has_news.store(false, Relaxed);
        Some(std::mem::take(&mut *lock(&self.carried)))
    }

    /// In `turn` it has read `length` bytes and delivered `count` of them.
    pub(super) fn carry(&self, turn: u64, count: usize, was_long: bool) {
        if count > 0 {
            self.carrier.count(count);
        }
        let mut carried = lock(&self.carried);
        carried.bytes += count as u64;
        carried.turn = turn;
        carried.was_long |= was_long;
        self.has_news.store(true, Relaxed);
    }

    /// It leaves that to its task, which has to be woken, and carries nothing more.
    pub(super) fn leave(&self, rest: Rest) {
        self.set_open(false);
        lock(&self.carried).rest = Some(rest);
        self.has_news.store(true, Relaxed);
    }
}
