//! The queue between producers of log lines and the writer.

use std::collections::VecDeque;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::output::SinkOutput;
use super::target::Format;

/// The parameters of a log writer.
#[derive(Clone, Copy, Debug)]
pub struct SinkOptions {
    /// The maximum number of bytes that wait to be written; further lines are dropped.
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

/// The data that producers, the writer and waiting threads share.
pub(super) struct LineQueue {
    /// Whether there is a target: read without the lock.
    pub(super) on: AtomicBool,
    /// Wakes the writer.
    pub(super) work: Condvar,
    /// Wakes threads that wait for room, for a flush or for the end.
    pub(super) done: Condvar,
    pub(super) options: SinkOptions,
    state: Mutex<LineQueueState>,
}

/// The part of a [`LineQueue`] behind its lock.
#[derive(Default)]
pub(super) struct LineQueueState {
    /// Whole lines, each with its newline.
    pub(super) bytes: Vec<u8>,
    /// Each order with the length of `bytes` when it was given: it is carried out after the lines before it.
    pub(super) orders: VecDeque<(usize, Order)>,
    pub(super) format: Format,
    /// Lines that were dropped because the queue was full, not reported yet.
    pub(super) dropped: u64,
    /// Lines and orders accepted so far.
    pub(super) accepted: QueueProgress,
    /// Lines written or given up, and orders carried out.
    pub(super) finished: QueueProgress,
    /// The writer waits for work.
    pub(super) idle: bool,
    /// A thread waits for the writer, which must not linger.
    pub(super) hurry: bool,
    /// The last handle is gone: the writer ends after one more attempt.
    pub(super) stop: bool,
    /// The writer has ended, and has reported everything it lost.
    pub(super) ended: bool,
}

/// Counts of lines and orders.
#[derive(Clone, Copy, Default)]
pub(super) struct QueueProgress {
    pub(super) lines: u64,
    pub(super) orders: u64,
}

/// An instruction to the writer, in sequence with the lines.
pub(super) enum Order {
    /// Write to another target.
    Set(Option<SinkOutput>),
    /// Open the file again by its path.
    Reopen,
    /// Report losses so far.
    Flush,
    /// End once everything is written, but at this time at the latest.
    Close(Instant),
}

impl LineQueue {
    pub(super) fn new(options: SinkOptions) -> LineQueue {
        LineQueue {
            on: AtomicBool::new(false),
            work: Condvar::new(),
            done: Condvar::new(),
            options,
            state: Mutex::default(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, LineQueueState> {
        // At worst a producer that panicked has left an unfinished line.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// Appends the line that `write` produces, or drops it if the queue is full. `write` may produce none.
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
        // Lines for a file are collected: the first one wakes the writer, and then half of the capacity.
        let half = self.options.capacity / 2;
        if mem::take(&mut state.idle) || before < half && after >= half {
            drop(state);
            self.work.notify_one();
        }
    }

    /// Queues an order after the present lines. Returns the progress accepted so far, including the order.
    pub(super) fn order(&self, mut state: MutexGuard<'_, LineQueueState>, order: Order) -> QueueProgress {
        let mark = state.bytes.len();
        state.orders.push_back((mark, order));
        state.accepted.orders += 1;
        state.hurry = true;
        let accepted = state.accepted;
        drop(state);
        self.work.notify_one();
        accepted
    }

    /// Waits until `condition` is true, at most until `deadline`. Returns whether it is.
    pub(super) fn wait_until(
        &self,
        deadline: Instant,
        mut condition: impl FnMut(&mut LineQueueState) -> bool,
    ) -> bool {
        let patience = deadline.saturating_duration_since(Instant::now());
        let waited = self.done.wait_timeout_while(self.lock(), patience, |state| !condition(state));
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        condition(&mut state)
    }
}

impl QueueProgress {
    /// Whether this is at least as far as `other`.
    pub(super) fn reaches(self, other: QueueProgress) -> bool {
        self.lines >= other.lines && self.orders >= other.orders
    }
}
