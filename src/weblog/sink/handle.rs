//! The handle on the log writer that the rest of the program uses.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use crate::weblog::entry::LogEntry;

use super::fault_reporter::{Report, lines};
use super::output::SinkOutput;
use super::queue::{LineQueue, Order, SinkOptions};
use super::target::{Format, SinkTarget};
use super::writer::LogWriter;

/// How much longer than its deadline the shutdown waits for the writer's last report.
const LAST_REPORT: Duration = Duration::from_secs(1);

/// A handle on a log writer. Clones share the writer; it ends with the last handle, after writing what it can.
#[derive(Clone)]
pub struct LogHandle {
    owner: Arc<WriterOwner>,
}

impl fmt::Debug for LogHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogHandle").field("on", &self.is_on()).finish_non_exhaustive()
    }
}

/// Dropped with the last handle, which ends the thread.
struct WriterOwner(Arc<LineQueue>);

impl LogHandle {
    /// Starts a writer that has no target yet.
    ///
    /// # Errors
    /// The system cannot create a thread.
    pub fn start(options: SinkOptions, report: Report) -> io::Result<LogHandle> {
        let queue = Arc::new(LineQueue::new(options));
        let writer = LogWriter::new(Arc::clone(&queue), report);
        thread::Builder::new().name("log".into()).spawn(move || writer.run())?;
        Ok(LogHandle { owner: Arc::new(WriterOwner(queue)) })
    }

    /// Whether there is a target. Costs one relaxed load: check it before preparing a [`LogEntry`].
    pub fn is_on(&self) -> bool {
        self.owner.0.is_on()
    }

    /// Logs a request in the format of the target. Never waits for the target.
    pub fn entry(&self, entry: &LogEntry<'_>) {
        if self.is_on() {
            self.owner.0.push(|bytes, format| match format {
                Format::Off => {}
                Format::File => entry.write_file(bytes),
                Format::Datagram => entry.write_datagram(bytes),
            });
        }
    }

    /// Logs a line unchanged; `line` ends with its only newline. Never waits for the target.
    pub fn line(&self, line: &[u8]) {
        self.owner.0.push(|bytes, _| bytes.extend_from_slice(line));
    }

    /// Logs a line as [`LogHandle::line`] does, but waits for room while the queue is full, at most until `deadline`.
    pub fn line_waiting(&self, line: &[u8], deadline: Option<Instant>) {
        let queue = &self.owner.0;
        let capacity = queue.options.capacity;
        let has_room = |used: usize| used == 0 || used + line.len() <= capacity;
        while !has_room(queue.lock().bytes.len()) && deadline.is_none_or(|deadline| Instant::now() < deadline)
        {
            queue.lock().hurry = true;
            queue.work.notify_one();
            let wake = Instant::now() + Duration::from_secs(1);
            queue.wait_until(deadline.map_or(wake, |deadline| wake.min(deadline)), |state| {
                has_room(state.bytes.len())
            });
        }
        self.line(line);
    }

    /// Changes the target (`None`: no log), as [`LogHandle::put`] does. A file is opened during this call.
    ///
    /// # Errors
    /// The file cannot be opened; nothing has changed then.
    pub fn set(&self, target: Option<SinkTarget>) -> io::Result<()> {
        self.put(target.map(SinkOutput::open).transpose()?);
        Ok(())
    }

    /// Changes the target (`None`: no log). Lines logged before go to the old one.
    pub fn put(&self, output: Option<SinkOutput>) {
        let format = output.as_ref().map_or(Format::Off, |output| output.target().format());
        let queue = &self.owner.0;
        let mut state = queue.lock();
        state.format = format;
        queue.on.store(format != Format::Off, Ordering::Relaxed);
        queue.order(state, Order::Set(output));
    }

    /// Reopens the file by its path, for rotation, after everything logged before is written to the old one. On failure
    /// the old file remains in use, and the failure is reported.
    pub fn reopen(&self) {
        let queue = &self.owner.0;
        queue.order(queue.lock(), Order::Reopen);
    }

    /// Waits until everything logged so far is written or given up, for at most `patience`. Returns whether it is.
    /// Losses are reported now.
    pub fn flush(&self, patience: Duration) -> bool {
        let queue = &self.owner.0;
        let wanted = queue.order(queue.lock(), Order::Flush);
        queue.wait_until(Instant::now() + patience, |state| state.finished.reaches(wanted))
    }

    /// Ends the log: lines that cannot be written within `patience` are lost, counted and reported by the writer, and so are
    /// those that a target does not take that has failed, or has stopped taking any. Nothing can be logged afterwards.
    ///
    /// # Errors
    /// A message with the number of lines lost because the target does not respond at all: a blocked writer cannot
    /// report them.
    pub fn close(&self, patience: Duration) -> Result<(), String> {
        self.begin_close(patience).wait()
    }

    /// The same without waiting, for several logs to end at the same time.
    pub fn begin_close(&self, patience: Duration) -> ClosingLog<'_> {
        let queue = &self.owner.0;
        queue.on.store(false, Ordering::Relaxed);
        let deadline = Instant::now() + patience;
        queue.order(queue.lock(), Order::Close(deadline));
        ClosingLog { queue, patience, deadline }
    }
}

/// A log that has been told to end.
#[must_use = "its last lines may not be written yet"]
pub struct ClosingLog<'a> {
    queue: &'a LineQueue,
    patience: Duration,
    deadline: Instant,
}

impl ClosingLog<'_> {
    /// Waits for the end.
    ///
    /// # Errors
    /// See [`LogHandle::close`].
    pub fn wait(self) -> Result<(), String> {
        let ClosingLog { queue, patience, deadline } = self;
        if queue.wait_until(deadline + LAST_REPORT, |state| state.ended) {
            return Ok(());
        }
        let state = queue.lock();
        let lost = state.dropped + state.accepted.lines - state.finished.lines;
        Err(format!("log: {} lost: writing did not end within {} seconds", lines(lost), patience.as_secs()))
    }
}

impl Drop for WriterOwner {
    fn drop(&mut self) {
        self.0.lock().stop = true;
        self.0.work.notify_one();
    }
}
