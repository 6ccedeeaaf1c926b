//! The writer's side of the queue: a thread that waits for lines and orders and handles them.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use memchr::{memchr, memchr_iter};

use super::fault_reporter::{FaultReporter, Report};
use super::output::SinkOutput;
use super::queue::{LineQueue, LineQueueState, Order};

/// How long lines wait between attempts to write to a full disk.
const RETRY: Duration = Duration::from_millis(100);

/// How long a target may take nothing, once the log is to end, before the lines that are left are given up.
const STALL: Duration = Duration::from_secs(1);

/// The reason for giving up lines without an error that explains it.
const GIVEN_UP: &str = "they could not be written";

/// The data of a log writer's thread.
pub(super) struct LogWriter {
    queue: Arc<LineQueue>,
    output: Option<SinkOutput>,
    faults: FaultReporter,
    /// The bytes being written, and `at`, the position reached.
    batch: Vec<u8>,
    at: usize,
    orders: VecDeque<(usize, Order)>,
    /// When to end, whether everything is written or not.
    deadline: Option<Instant>,
    /// When the target last took something, or had nothing to take.
    took: Instant,
}

impl LogWriter {
    pub(super) fn new(queue: Arc<LineQueue>, report: Report) -> LogWriter {
        LogWriter {
            queue,
            output: None,
            faults: FaultReporter::new(report),
            batch: Vec::new(),
            at: 0,
            orders: VecDeque::new(),
            deadline: None,
            took: Instant::now(),
        }
    }

    /// Writes until the last handle is dropped or the log is closed.
    pub(super) fn run(mut self) {
        loop {
            let stop = self.collect();
            while let Some((mark, order)) = self.orders.pop_front() {
                if let (Order::Close(_), Some(output)) = (&order, &mut self.output) {
                    output.expect_the_end();
                }
                self.write(mark);
                self.carry_out(order, mark);
            }
            if !self.is_over() {
                self.write(self.batch.len());
            }
            if stop || self.is_over() {
                break;
            }
        }
        let why = match &self.output {
            Some(output) if self.is_stalled(Instant::now()) => {
                &format!("{} took nothing for {} second", output.target(), STALL.as_secs())
            }
            _ => GIVEN_UP,
        };
        self.give_up(self.batch.len(), why);
        self.faults.report_now();
        self.queue.lock().ended = true;
        self.queue.done.notify_all();
    }

    /// Whether the log is to end and there is nothing more to wait for: everything is written, the time is over, or the target
    /// takes nothing. Those who want to start pen again wait for this.
    fn is_over(&self) -> bool {
        let Some(deadline) = self.deadline else { return false };
        let now = Instant::now();
        let has_failed = self.output.as_ref().is_some_and(SinkOutput::has_failed);
        self.at == self.batch.len() || has_failed || self.is_stalled(now) || now >= deadline
    }

    fn is_stalled(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.took) >= STALL
    }

    /// Waits for work and takes it over; returns whether it is the last. Lingers while lines for a file may be
    /// collected.
    fn collect(&mut self) -> bool {
        let queue = Arc::clone(&self.queue);
        let mut state = queue.lock();
        let stalled = self.at < self.batch.len();
        while !stalled && state.bytes.is_empty() && state.orders.is_empty() && !state.stop {
            state.idle = true;
            let Some(wait) = self.faults.next_report(Instant::now()) else {
                state = queue.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            state = queue.work.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
            self.faults.report_due(Instant::now());
        }
        state.idle = false;
        let pause = match &self.output {
            _ if stalled => RETRY,
            Some(output) if output.lingers() => queue.options.linger,
            _ => Duration::ZERO,
        };
        if !pause.is_zero() {
            let full = if stalled { usize::MAX } else { queue.options.capacity / 2 };
            let busy = |state: &mut LineQueueState| !state.hurry && !state.stop && state.bytes.len() < full;
            let waited = queue.work.wait_timeout_while(state, pause, busy);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.hurry = false;
        self.take_over(&mut state);
        let (stop, dropped) = (state.stop, mem::take(&mut state.dropped));
        drop(state);
        queue.done.notify_all();
        self.faults.lost(dropped, "the queue was full");
        self.faults.report_due(Instant::now());
        stop
    }

    /// Takes what the producers queued. While lines wait for a full disk, only orders are taken, with the lines before
    /// them.
    fn take_over(&mut self, state: &mut LineQueueState) {
        if self.at == self.batch.len() {
            self.batch.clear();
            self.at = 0;
            self.took = Instant::now();
            mem::swap(&mut state.bytes, &mut self.batch);
            mem::swap(&mut state.orders, &mut self.orders);
        } else if !state.orders.is_empty() {
            self.batch.drain(..mem::take(&mut self.at));
            if self.batch.len() >= self.queue.options.capacity {
                let lines = count_lines(&state.bytes);
                state.dropped += lines;
                state.finished.lines += lines;
                state.bytes.clear();
                state.orders.iter_mut().for_each(|(mark, _)| *mark = 0);
            }
            let before = self.batch.len();
            self.orders.extend(state.orders.drain(..).map(|(mark, order)| (before + mark, order)));
            self.batch.append(&mut state.bytes);
        }
    }

    /// Writes the batch up to `end`, or less if the disk is full.
    fn write(&mut self, end: usize) {
        let todo = &self.batch[self.at..end];
        let done = match &mut self.output {
            Some(output) => output.write(todo, &mut self.faults),
            None => todo.len(),
        };
        let lines = count_lines(&todo[..done]);
        if done > 0 {
            self.took = Instant::now();
        }
        self.at += done;
        self.finish(lines, 0);
    }

    /// Gives up the batch up to `end`: its lines are lost.
    fn give_up(&mut self, end: usize, why: &str) {
        let lines = count_lines(&self.batch[self.at..end]);
        self.faults.lost(lines, why);
        self.at = end;
        self.finish(lines, 0);
    }

    fn carry_out(&mut self, order: Order, mark: usize) {
        match order {
            Order::Flush => self.faults.report_now(),
            // Whole lines that the old file could not take go to the new one; the rest of a cut line is useless there.
            Order::Reopen => {
                let half_a_line = self.output.as_mut().is_some_and(|output| output.reopen(&mut self.faults));
                if half_a_line && self.at < mark {
                    let rest = &self.batch[self.at..mark];
                    let end = memchr(b'\n', rest).map_or(mark, |end| self.at + end + 1);
                    self.give_up(end, "the disk was full");
                }
            }
            Order::Set(target) => {
                self.give_up(mark, GIVEN_UP);
                self.faults.begin_anew();
                self.output = target;
            }
            Order::Close(deadline) => self.deadline = Some(deadline),
        }
        self.finish(0, 1);
    }

    fn finish(&self, lines: u64, orders: u64) {
        let mut state = self.queue.lock();
        state.finished.lines += lines;
        state.finished.orders += orders;
        drop(state);
        self.queue.done.notify_all();
    }
}

fn count_lines(bytes: &[u8]) -> u64 {
    memchr_iter(b'\n', bytes).count() as u64
}
