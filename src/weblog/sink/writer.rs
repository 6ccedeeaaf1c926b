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
        }
    }

    /// Writes until the last handle is dropped or the log is closed.
    pub(super) fn run(mut self) {
        loop {
            let stop = self.collect();
            while let Some((mark, order)) = self.orders.pop_front() {
                self.write(mark);
                self.carry_out(order, mark);
            }
            self.write(self.batch.len());
            let closing = self
                .deadline
                .is_some_and(|deadline| self.at == self.batch.len() || Instant::now() >= deadline);
            if stop || closing {
                break;
            }
        }
        self.give_up(self.batch.len(), GIVEN_UP);
        self.faults.report_now();
        self.queue.lock().ended = true;
        self.queue.done.notify_all();
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
