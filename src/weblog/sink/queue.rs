//! The queue between those who log and the writer.

use std::collections::VecDeque;
use std::fs::File;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::target::SinkTarget;

/// How a log writer behaves.
#[derive(Clone, Copy, Debug)]
pub struct SinkOptions {
    /// Most bytes that wait to be written; lines beyond are dropped.
    pub capacity: usize,
    /// How long lines for a file are collected before they are written together.
    pub linger: Duration,
}

impl Default for SinkOptions {
    /// 4 MiB and a tenth of a second.
    fn default() -> Self {
        SinkOptions { capacity: 4 << 20, linger: Duration::from_millis(100) }
    }
}

/// What producers, the writer and those who wait for it share.
pub(super) struct Queue {
    /// Whether there is a target: read without the lock.
    pub(super) on: AtomicBool,
    /// Wakes the writer.
    pub(super) work: Condvar,
    /// Wakes those who wait for room, for a flush or for the end.
    pub(super) done: Condvar,
    pub(super) options: SinkOptions,
    state: Mutex<QueueState>,
}

/// The part of a [`Queue`] behind its lock.
#[derive(Default)]
pub(super) struct QueueState {
    /// Whole lines, each with its newline.
    pub(super) bytes: Vec<u8>,
    /// Each order with the length of `bytes` when it was given: it is carried out after the lines before it.
    pub(super) orders: VecDeque<(usize, Order)>,
    pub(super) format: Format,
    /// Lines that were dropped because the queue was full, not reported yet.
    pub(super) dropped: u64,
    /// Lines and orders that were ever accepted.
    pub(super) accepted: Progress,
    /// Lines that were written or given up, and orders that were carried out.
    pub(super) finished: Progress,
    /// The writer waits for anything at all.
    pub(super) idle: bool,
    /// Somebody waits for the writer: it must not linger.
    pub(super) hurry: bool,
    /// The last handle is gone: the writer ends after one more attempt.
    pub(super) stop: bool,
    /// The writer has ended, and has reported everything it lost.
    pub(super) ended: bool,
}

/// Counts of lines and orders.
#[derive(Clone, Copy, Default)]
pub(super) struct Progress {
    pub(super) lines: u64,
    pub(super) orders: u64,
}

/// The form in which entries are written.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Format {
    #[default]
    Off,
    File,
    Datagram,
}

/// What the writer is told to do, in turn with the lines.
pub(super) enum Order {
    /// Write to another target; a file is open already.
    Set(Option<(SinkTarget, Option<File>)>),
    /// Open the file again by its path.
    Reopen,
    /// Report what was lost so far.
    Flush,
    /// End once everything is written, or at this time at the latest.
    Close(Instant),
}

impl Queue {
    pub(super) fn new(options: SinkOptions) -> Queue {
        Queue {
            on: AtomicBool::new(false),
            work: Condvar::new(),
            done: Condvar::new(),
            options,
            state: Mutex::default(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, QueueState> {
        // A producer that panicked left an unfinished line at worst.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// Appends the line that `write` makes, or drops it if the queue is full. `write` may make none.
    pub(super) fn push(&self, write: impl FnOnce(&mut Vec<u8>, Format)) {
        let mut state = self.lock();
        let before = state.bytes.len();
        if before >= self.options.capacity {
            state.dropped += 1;
            return;
        }
        let format = state.format;
        write(&mut state.bytes, format);
        let after = state.bytes.len();
        state.accepted.lines += u64::from(after > before);
        // The lines of a file are collected: one wake-up for the first, another when half of the room is used.
        let half = self.options.capacity / 2;
        if mem::take(&mut state.idle) || before < half && after >= half {
            drop(state);
            self.work.notify_one();
        }
    }

    /// Queues an order behind the lines that are there. Returns what is accepted now, the order included.
    pub(super) fn order(&self, mut state: MutexGuard<'_, QueueState>, order: Order) -> Progress {
        let mark = state.bytes.len();
        state.orders.push_back((mark, order));
        state.accepted.orders += 1;
        state.hurry = true;
        let accepted = state.accepted;
        drop(state);
        self.work.notify_one();
        accepted
    }

    /// Waits until `condition` holds, at most until `deadline`. Tells whether it holds.
    pub(super) fn wait_until(
        &self,
        deadline: Instant,
        mut condition: impl FnMut(&mut QueueState) -> bool,
    ) -> bool {
        let patience = deadline.saturating_duration_since(Instant::now());
        let waited = self.done.wait_timeout_while(self.lock(), patience, |state| !condition(state));
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        condition(&mut state)
    }
}

impl Progress {
    /// Whether this is at least as far as `other`.
    pub(super) fn reaches(self, other: Progress) -> bool {
        self.lines >= other.lines && self.orders >= other.orders
    }
}
