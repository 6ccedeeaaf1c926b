//! What an event port keeps for a socket: the reported events, the waiting task and the lane.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Poll, Waker};
use std::time::Instant;

use super::events::{CLOSED, ERROR, READABLE, URGENT, WRITABLE};
use super::lane_transfer::{LaneOwner, LaneStop, LaneTransfer};

/// The place of a socket in an event port.
#[derive(Debug, Default)]
pub(super) struct PollSlot {
    /// Tells it from those that had its place before.
    pub(super) generation: u32,
    events: AtomicU32,
    subscribers: Mutex<Subscribers>,
}

/// What is notified of events.
#[derive(Debug, Default)]
struct Subscribers {
    waker: Option<Waker>,
    lane: Option<Arc<PolledLane>>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while such a lock is held leaves the value consistent.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl PollSlot {
    pub(super) fn new(generation: u32) -> Self {
        Self { generation, ..Self::default() }
    }

    /// Adds `events`; wakes the waiting task when some of them are new.
    pub(super) fn tell(&self, events: u32) {
        if events & !self.events.fetch_or(events, Relaxed) != 0
            && let Some(waker) = &lock(&self.subscribers).waker
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
        let mut subscribers = lock(&self.subscribers);
        if !subscribers.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            subscribers.waker = Some(waker.clone());
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

    pub(super) fn set_lane(&self, lane: Option<Arc<PolledLane>>) {
        lock(&self.subscribers).lane = lane;
    }

    /// The lane and the slot of its destination, if the lane may forward what `events` report: bytes, and nothing unusual at
    /// either end.
    pub(super) fn lane_for(&self, events: u32) -> Option<(Arc<PolledLane>, Arc<PollSlot>)> {
        if events & READABLE == 0
            || events & (CLOSED | ERROR | URGENT) != 0
            || self.any(READABLE | CLOSED | ERROR | URGENT)
        {
            return None;
        }
        let subscribers = lock(&self.subscribers);
        let lane = subscribers
            .lane
            .as_ref()
            .filter(|lane| lane.is_open.load(Relaxed) && lane.owner.may_forward())?;
        // A slot lives as long as its socket.
        let destination = lane.to.upgrade().filter(|to| to.any(WRITABLE) && !to.any(ERROR))?;
        Some((Arc::clone(lane), destination))
    }
}

/// A connection from one socket to another, on which the event port forwards messages itself while the lane is open.
pub(in crate::sys) struct PolledLane {
    pub(super) source: RawFd,
    pub(super) destination: RawFd,
    to: Weak<PollSlot>,
    is_open: AtomicBool,
    has_news: AtomicBool,
    owner: Box<dyn LaneOwner>,
    transfer: Mutex<LaneTransfer>,
}

impl std::fmt::Debug for PolledLane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PolledLane").field("transfer", &self.transfer).finish_non_exhaustive()
    }
}

impl PolledLane {
    /// A closed lane for `owner`.
    pub(super) fn new(
        source: RawFd,
        (destination, to): (RawFd, &Arc<PollSlot>),
        owner: Box<dyn LaneOwner>,
    ) -> Self {
        Self {
            source,
            destination,
            to: Arc::downgrade(to),
            is_open: AtomicBool::new(false),
            has_news: AtomicBool::new(false),
            owner,
            transfer: Mutex::default(),
        }
    }

    /// Opens or closes it. It may be open only while its task waits for the source, has written all that it has read, and
    /// does not have to see the next message.
    #[inline]
    pub(in crate::sys) fn set_open(&self, open: bool) {
        self.is_open.store(open, Relaxed);
    }

    /// What it has transferred since the last call, if anything.
    #[inline]
    pub(in crate::sys) fn take(&self) -> Option<LaneTransfer> {
        if !self.has_news.load(Relaxed) {
            return None;
        }
        self.has_news.store(false, Relaxed);
        Some(std::mem::take(&mut *lock(&self.transfer)))
    }

    /// Records that `count` bytes were written in `turn`, which is `now`; `was_long` if the read filled the buffer.
    pub(super) fn record(&self, (turn, now): (u64, Instant), count: usize, was_long: bool) {
        if count > 0 {
            self.owner.count(count);
        }
        let mut transfer = lock(&self.transfer);
        transfer.last = Some(now).filter(|_| count > 0).or(transfer.last);
        transfer.bytes += count as u64;
        transfer.turn = turn;
        transfer.was_long |= was_long;
        self.has_news.store(true, Relaxed);
    }

    /// Closes the lane for this `reason`. The caller has to wake its task.
    pub(super) fn stop(&self, reason: LaneStop) {
        self.set_open(false);
        lock(&self.transfer).stop = Some(reason);
        self.has_news.store(true, Relaxed);
    }
}
