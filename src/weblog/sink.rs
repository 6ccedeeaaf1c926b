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
use std::time::{Duration, Instant};

use memchr::{memchr, memchr_iter};

use super::health::Health;
use super::line::Entry;
use super::output::{Output, open_file};
use super::target::Target;

/// How long lines wait between attempts to write to a full disk.
const RETRY: Duration = Duration::from_millis(100);

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
        let writer = Writer {
            shared: Arc::clone(&shared),
            output: None,
            health: Health::new(report),
            batch: Vec::new(),
            at: 0,
            orders: VecDeque::new(),
        };
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

struct Writer {
    shared: Arc<Shared>,
    output: Option<Output>,
    health: Health,
    /// What is being written; `at` is how far that got.
    batch: Vec<u8>,
    at: usize,
    orders: VecDeque<(usize, Order)>,
}

impl Writer {
    fn run(mut self) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::path::Path;
    use std::sync::mpsc::{Receiver, channel};

    const PATIENCE: Duration = Duration::from_secs(20);

    fn start(options: Options) -> (LogHandle, Receiver<String>) {
        let (tell, told) = channel();
        let report = Box::new(move |text: &str| {
            let _ = tell.send(text.to_owned());
        });
        (LogHandle::start(options, report).unwrap(), told)
    }

    fn entry(request: &[u8]) -> Entry<'_> {
        Entry { client: "192.0.2.1".parse().ok(), epoch: 5, server: "10.0.0.1", request }
    }

    fn read(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn entries_go_to_the_file_soon_and_without_a_flush() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let (log, _) = start(Options::default());
        assert!(!log.is_on());
        log.entry(&entry(b"dropped"));
        log.set(Some(Target::File(path.clone()))).unwrap();
        assert!(log.is_on());
        let begun = Instant::now();
        log.entry(&entry(b"GET / HTTP/1.0\r\n\r\n"));
        while read(&path).is_empty() {
            assert!(begun.elapsed() < PATIENCE);
            thread::yield_now();
        }
        assert_eq!(read(&path), "192.0.2.1 5 10.0.0.1 GET / HTTP/1.0\n");
    }

    #[test]
    fn rotation_and_a_change_of_target_lose_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let name = |n: &str| dir.path().join(n);
        let (log, told) = start(Options::default());
        log.set(Some(Target::File(name("a")))).unwrap();
        log.line(b"one\n");
        assert!(log.flush(PATIENCE));
        std::fs::rename(name("a"), name("a.0")).unwrap();
        log.line(b"two\n");
        log.reopen();
        log.line(b"three\n");
        log.set(Some(Target::File(name("b")))).unwrap();
        log.line(b"four\n");
        assert!(log.set(Some(Target::File(name("no/such")))).is_err());
        log.line(b"five\n");
        log.set(None).unwrap();
        assert!(!log.is_on());
        assert!(log.flush(PATIENCE));
        let texts = ["a.0", "a", "b"].map(|n| read(&name(n)));
        assert_eq!(texts, ["one\ntwo\n", "three\n", "four\nfive\n"]);
        drop(log);
        assert_eq!(told.recv(), Err(std::sync::mpsc::RecvError));
    }

    #[test]
    fn a_failed_reopen_keeps_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let (sub, moved) = (dir.path().join("sub"), dir.path().join("moved"));
        std::fs::create_dir(&sub).unwrap();
        let (log, told) = start(Options::default());
        log.set(Some(Target::File(sub.join("a")))).unwrap();
        std::fs::rename(&sub, &moved).unwrap();
        log.reopen();
        log.line(b"still\n");
        assert!(log.flush(PATIENCE));
        assert_eq!(read(&moved.join("a")), "still\n");
        assert!(told.recv().unwrap().starts_with("cannot reopen log "));
    }

    #[test]
    fn a_full_disk_is_reported_once_and_what_does_not_fit_is_counted() {
        if !Path::new("/dev/full").exists() {
            return;
        }
        let (log, told) = start(Options { capacity: 64, linger: Duration::ZERO });
        log.set(Some(Target::File("/dev/full".into()))).unwrap();
        log.line(b"0123456789012345678901234567890123456789012345678901234567890123456\n");
        assert_eq!(told.recv().unwrap(), "cannot write log /dev/full: No space left on device (os error 28)");
        for _ in 0..10 {
            log.line(b"0123456789012345678901234567890123456789012345678901234567890123456\n");
        }
        let dir = tempfile::tempdir().unwrap();
        log.set(Some(Target::File(dir.path().join("a")))).unwrap();
        // The queue is full until the writer has seen the new target.
        assert!(log.flush(PATIENCE));
        log.line(b"after\n");
        assert!(log.flush(PATIENCE));
        assert_eq!(read(&dir.path().join("a")), "after\n");
        // Every line is lost, at whatever stage; the sum is exact.
        drop(log);
        let lost: u64 =
            told.iter().filter_map(|t| t.strip_prefix("log: ")?.split(' ').next()?.parse::<u64>().ok()).sum();
        assert_eq!(lost, 11);
    }

    #[test]
    fn datagrams_go_to_penlogd_and_its_absence_is_survived() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let target = Target::parse(&address.to_string(), &Default::default()).unwrap();
        let (log, told) = start(Options::default());
        log.set(Some(target)).unwrap();
        let mut buffer = [0; 2048];
        log.entry(&entry(b"GET / HTTP/1.0\r\n"));
        let n = socket.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..n], b"+ 192.0.2.1 10.0.0.1 GET / HTTP/1.0\n");
        drop(socket);
        log.entry(&entry(b"GET /lost HTTP/1.0\r\n"));
        log.entry(&entry(b"GET /lost too HTTP/1.0\r\n"));
        assert!(log.flush(PATIENCE));
        assert!(told.recv().unwrap().starts_with("cannot send log to 127.0.0.1:"));
        let socket = UdpSocket::bind(address).unwrap();
        log.entry(&entry(b"GET /again HTTP/1.0\r\n"));
        let n = socket.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..n], b"+ 192.0.2.1 10.0.0.1 GET /again HTTP/1.0\n");
    }

    #[test]
    fn many_threads_write_whole_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let (log, _) = start(Options::default());
        log.set(Some(Target::File(path.clone()))).unwrap();
        thread::scope(|scope| {
            for n in 0..4 {
                let log = log.clone();
                scope.spawn(move || {
                    (0..5000)
                        .for_each(|_| log.line_waiting(format!("{}\n", n.to_string().repeat(40)).as_bytes()))
                });
            }
        });
        assert!(log.flush(PATIENCE));
        let text = read(&path);
        assert_eq!(text.lines().count(), 20_000);
        assert!(text.lines().all(|line| line.len() == 40 && line.bytes().all(|b| b == line.as_bytes()[0])));
    }
}
