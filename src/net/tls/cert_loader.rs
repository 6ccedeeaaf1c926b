//! The thread that looks at files while pen serves, so that no worker waits for a disk.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use openssl::ssl::SslContext;

use crate::sys::log;

use super::file_stamp::Stamp;

/// How often files are looked at, at most, while handshakes ask for them.
pub(super) const LOOK: Duration = Duration::from_secs(1);

/// Lets something happen once in [`LOOK`].
#[derive(Debug)]
pub(super) struct Throttle {
    origin: Instant,
    /// Milliseconds since then, when it may happen again.
    next: AtomicU64,
}

impl Throttle {
    /// Lets it happen for the first time after [`LOOK`].
    pub(super) fn new() -> Self {
        Throttle { origin: Instant::now(), next: AtomicU64::new(Self::millis(LOOK)) }
    }

    fn millis(time: Duration) -> u64 {
        u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether it is to happen now; true for one caller only.
    pub(super) fn is_due(&self) -> bool {
        let now = Self::millis(self.origin.elapsed());
        let next = self.next.load(Relaxed);
        now >= next && self.next.compare_exchange(next, now + Self::millis(LOOK), Relaxed, Relaxed).is_ok()
    }
}

/// What the files of a name have become.
#[derive(Debug, Clone)]
pub(super) struct Made {
    /// The context; `None` when the files are bad.
    pub(super) context: Option<SslContext>,
    /// The state of the files.
    pub(super) stamp: Stamp,
}

/// A look at files.
type Job = Box<dyn FnOnce(&mut Reported) + Send>;

/// The jobs that the thread is to do.
pub(super) type Jobs = Receiver<Job>;

/// How jobs get to the thread.
#[derive(Clone)]
pub(super) struct Loader(Sender<Job>);

impl fmt::Debug for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Loader(..)")
    }
}

impl Loader {
    /// A way to a thread that does not run yet.
    pub(super) fn new() -> (Self, Jobs) {
        let (sender, receiver) = mpsc::channel();
        (Loader(sender), receiver)
    }

    /// Has a job done on the thread; never waits. Without a thread the job is dropped, and with it the sender that whoever
    /// waits for the result listens to.
    pub(super) fn ask(&self, job: impl FnOnce(&mut Reported) + Send + 'static) {
        _ = self.0.send(Box::new(job));
    }
}

/// Starts the thread; it ends when nobody can ask any more.
///
/// # Errors
/// When the system gives no thread.
pub(super) fn start(jobs: Jobs) -> io::Result<()> {
    std::thread::Builder::new().name("tls files".into()).spawn(move || {
        let mut reported = Reported::default();
        for job in jobs {
            job(&mut reported);
        }
    })?;
    Ok(())
}

/// What was reported of the files of each name: once for each state of them, not for every worker and every look.
#[derive(Debug, Default)]
pub(super) struct Reported(HashMap<String, Stamp>);

impl Reported {
    /// Warns of what is wrong with the files of a name in a state.
    pub(super) fn warn(&mut self, name: &str, stamp: &Stamp, text: &str) {
        if self.0.get(name) != Some(stamp) {
            self.0.insert(name.to_owned(), stamp.clone());
            log::warn(format_args!("{text}"));
        }
    }
}
