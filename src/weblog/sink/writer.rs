//! The writer's side of the queue: a thread that waits for lines and orders and carries them out.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use memchr::{memchr, memchr_iter};

use super::super::health::Health;
use super::super::output::Output;
use super::{Order, Report, Shared, State};

/// How long lines wait between attempts to write to a full disk.
const RETRY: Duration = Duration::from_millis(100);

/// What the thread of a log writer owns.
pub(super) struct Writer {
    shared: Arc<Shared>,
    output: Option<Output>,
    health: Health,
    /// What is being written; `at` is how far that got.
    batch: Vec<u8>,
    at: usize,
    orders: VecDeque<(usize, Order)>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, report: Report) -> Writer {
        Writer {
            shared,
            output: None,
            health: Health::new(report),
            batch: Vec::new(),
            at: 0,
            orders: VecDeque::new(),
        }
    }

    /// Writes until the last handle is gone.
    pub(super) fn run(mut self) {
        loop {
            let stop = self.collect();
            while let Some((mark, order)) = self.orders.pop_front() {
                self.write(mark);
                self.carry_out(order, mark);
            }
            self.write(self.batch.len());
            if stop {
                self.health.lost(count_lines(&self.batch[self.at..]), "they could not be written");
                break;
            }
        }
        self.health.report_now();
    }

    /// Waits for work and takes it over; tells whether it is the last. Lingers while a file's lines may be collected.
    fn collect(&mut self) -> bool {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        let stalled = self.at < self.batch.len();
        while !stalled && state.queue.is_empty() && state.orders.is_empty() && !state.stop {
            state.idle = true;
            let Some(wait) = self.health.next_report(Instant::now()) else {
                state = shared.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            state = shared.work.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
            self.health.report_due(Instant::now());
        }
        state.idle = false;
        let pause = match &self.output {
            _ if stalled => RETRY,
            Some(output) if output.lingers() => shared.options.linger,
            _ => Duration::ZERO,
        };
        if !pause.is_zero() {
            let full = if stalled { usize::MAX } else { shared.options.capacity / 2 };
            let busy = |state: &mut State| !state.hurry && !state.stop && state.queue.len() < full;
            let waited = shared.work.wait_timeout_while(state, pause, busy);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.hurry = false;
        self.take_over(&mut state);
        let (stop, dropped) = (state.stop, mem::take(&mut state.dropped));
        drop(state);
        shared.done.notify_all();
        self.health.lost(dropped, "the queue was full");
        self.health.report_due(Instant::now());
        stop
    }

    /// Takes what the producers queued. While lines wait for a full disk, only orders are taken, with what came before.
    fn take_over(&mut self, state: &mut State) {
        if self.at == self.batch.len() {
            self.batch.clear();
            self.at = 0;
            mem::swap(&mut state.queue, &mut self.batch);
            mem::swap(&mut state.orders, &mut self.orders);
        } else if !state.orders.is_empty() {
            self.batch.drain(..mem::take(&mut self.at));
            if self.batch.len() >= self.shared.options.capacity {
                state.dropped += count_lines(&state.queue);
                state.finished += state.queue.len() as u64;
                state.queue.clear();
                state.orders.iter_mut().for_each(|(mark, _)| *mark = 0);
            }
            let before = self.batch.len();
            self.orders.extend(state.orders.drain(..).map(|(mark, order)| (before + mark, order)));
            self.batch.append(&mut state.queue);
        }
    }

    /// Writes the batch up to `end`, or less if the disk is full.
    fn write(&mut self, end: usize) {
        let todo = &self.batch[self.at..end];
        let n = match &mut self.output {
            Some(output) => output.write(todo, &mut self.health),
            None => todo.len(),
        };
        self.at += n;
        self.finish(n);
    }

    fn carry_out(&mut self, order: Order, mark: usize) {
        let todo = &self.batch[self.at..mark];
        let given_up = match order {
            Order::Flush => {
                self.health.report_now();
                0
            }
            // Whole lines that the old file could not take go to the new one; the rest of a line is of no use there.
            Order::Reopen => {
                let half_a_line = self.output.as_mut().is_some_and(|output| output.reopen(&mut self.health));
                if half_a_line && !todo.is_empty() {
                    self.health.lost(1, "the disk was full");
                    memchr(b'\n', todo).map_or(todo.len(), |end| end + 1)
                } else {
                    0
                }
            }
            Order::Set(target) => {
                self.health.lost(count_lines(todo), "they could not be written");
                self.health.begin_anew();
                self.output = target.and_then(|(target, file)| Output::new(target, file));
                todo.len()
            }
        };
        self.at += given_up;
        self.finish(given_up + 1);
    }

    fn finish(&self, n: usize) {
        self.shared.lock().finished += n as u64;
        self.shared.done.notify_all();
    }
}

fn count_lines(bytes: &[u8]) -> u64 {
    memchr_iter(b'\n', bytes).count() as u64
}
