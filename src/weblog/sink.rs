//! The log writer: any thread hands it a line and goes on; one thread of its own writes.
//!
//! A line is formatted straight into a bounded queue of bytes under a short lock, so that a request costs no
//! allocation and never waits for a disk, for DNS or for the network. Two buffers change places between the producers
//! and the writer. When the queue is full lines are dropped, counted and reported.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::line::Entry;
use super::output::open_file;
use super::target::Target;

mod writer;

use writer::Writer;

/// Called, from the writer's thread, with each thing that an administrator should know.
pub type Report = Box<dyn Fn(&str) + Send>;

/// How a log writer behaves.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Most bytes that wait to be written; lines beyond are dropped.
    pub capacity: usize,
    /// How long lines for a file are collected before they are written at once.
    pub linger: Duration,
}

impl Default for Options {
    /// 4 MiB and a tenth of a second.
    fn default() -> Self {
        Options { capacity: 4 << 20, linger: Duration::from_millis(100) }
    }
}

/// A handle on a log writer. Clones share the writer; it ends, having written what it can, with the last of them.
#[derive(Clone)]
pub struct LogHandle {
    owner: Arc<Owner>,
}

impl fmt::Debug for LogHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogHandle").field("on", &self.is_on()).finish_non_exhaustive()
    }
}

/// Dropped with the last handle, which tells the thread to end.
struct Owner(Arc<Shared>);

struct Shared {
    on: AtomicBool,
    state: Mutex<State>,
    /// Wakes the writer.
    work: Condvar,
    /// Wakes those that wait for room or for a flush.
    done: Condvar,
    options: Options,
}

#[derive(Default)]
struct State {
    queue: Vec<u8>,
    orders: VecDeque<(usize, Order)>,
    format: Format,
    /// Lines dropped because the queue was full, not reported yet.
    dropped: u64,
    /// Bytes and orders ever accepted, and those the writer is done with.
    accepted: u64,
    finished: u64,
    /// The writer waits for anything at all.
    idle: bool,
    hurry: bool,
    stop: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Format {
    #[default]
    Off,
    File,
    Datagram,
}

enum Order {
    Set(Option<(Target, Option<File>)>),
    Reopen,
    Flush,
}

impl LogHandle {
    /// Starts a writer that has no target yet.
    ///
    /// # Errors
    /// The system cannot make a thread.
    pub fn start(options: Options, report: Report) -> io::Result<LogHandle> {
        let shared = Arc::new(Shared {
            on: AtomicBool::new(false),
            state: Mutex::default(),
            work: Condvar::new(),
            done: Condvar::new(),
            options,
        });
        let writer = Writer::new(Arc::clone(&shared), report);
        thread::Builder::new().name("log".into()).spawn(move || writer.run())?;
        Ok(LogHandle { owner: Arc::new(Owner(shared)) })
    }

    /// Whether there is a target. Costs one relaxed load: ask before preparing an [`Entry`].
    pub fn is_on(&self) -> bool {
        self.owner.0.on.load(Ordering::Relaxed)
    }

    /// Logs a request in the form that the target takes. Never waits for the target.
    pub fn entry(&self, entry: &Entry<'_>) {
        if self.is_on() {
            self.owner.0.push(|queue, format| match format {
                Format::Off => {}
                Format::File => entry.write_file(queue),
                Format::Datagram => entry.write_datagram(queue),
            });
        }
    }

    /// Logs a line as it is; `line` ends with its only newline. Never waits for the target.
    pub fn line(&self, line: &[u8]) {
        self.owner.0.push(|queue, _| queue.extend_from_slice(line));
    }

    /// Logs a line as [`LogHandle::line`] does, but waits while the queue is full.
    pub fn line_waiting(&self, line: &[u8]) {
        let shared = &self.owner.0;
        let mut state = shared.lock();
        while state.queue.len() + line.len() > shared.options.capacity && !state.queue.is_empty() {
            state.hurry = true;
            shared.work.notify_one();
            state = shared.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        drop(state);
        self.line(line);
    }

    /// Changes the target (`None`: no log). Lines logged before go to the old one. A file is opened here and now.
    ///
    /// # Errors
    /// The file cannot be opened; then nothing changes.
    pub fn set(&self, target: Option<Target>) -> io::Result<()> {
        let file = match &target {
            Some(Target::File(path)) => Some(open_file(path)?),
            Some(Target::Stdout) => Some(io::stdout().as_fd().try_clone_to_owned()?.into()),
            _ => None,
        };
        let format = match &target {
            None => Format::Off,
            Some(Target::File(_) | Target::Stdout) => Format::File,
            Some(Target::Udp { .. }) => Format::Datagram,
        };
        let shared = &self.owner.0;
        let mut state = shared.lock();
        state.format = format;
        shared.on.store(format != Format::Off, Ordering::Relaxed);
        shared.order(state, Order::Set(target.map(|target| (target, file))));
        Ok(())
    }

    /// Opens the file again by its path, for rotation, after all that was logged before is written to the old one.
    /// When that fails, the old file goes on being written, and the failure is reported.
    pub fn reopen(&self) {
        let shared = &self.owner.0;
        shared.order(shared.lock(), Order::Reopen);
    }

    /// Waits until everything logged so far is written or given up, at most `patience`. Tells whether it is. Losses
    /// are reported now.
    pub fn flush(&self, patience: Duration) -> bool {
        let shared = &self.owner.0;
        let wanted = shared.order(shared.lock(), Order::Flush);
        let waited = shared.done.wait_timeout_while(shared.lock(), patience, |state| state.finished < wanted);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.lock().stop = true;
        self.0.work.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A producer that panicked left at worst an unfinished line.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, write: impl FnOnce(&mut Vec<u8>, Format)) {
        let mut state = self.lock();
        let before = state.queue.len();
        if before >= self.options.capacity {
            state.dropped += 1;
            return;
        }
        let format = state.format;
        write(&mut state.queue, format);
        state.accepted += (state.queue.len() - before) as u64;
        // A file's lines are collected: one wake for the first, one when half the room is used.
        let half = self.options.capacity / 2;
        if mem::take(&mut state.idle) || before < half && state.queue.len() >= half {
            drop(state);
            self.work.notify_one();
        }
    }

    /// Queues an order behind the lines that are there. Returns what `finished` will be when it is carried out.
    fn order(&self, mut state: MutexGuard<'_, State>, order: Order) -> u64 {
        let mark = state.queue.len();
        state.orders.push_back((mark, order));
        state.accepted += 1;
        state.hurry = true;
        let accepted = state.accepted;
        drop(state);
        self.work.notify_one();
        accepted
    }
}

#[cfg(test)]
mod tests;
