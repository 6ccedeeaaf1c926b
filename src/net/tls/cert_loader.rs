//! The thread that checks files while pen serves, so that no worker waits for a disk.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use openssl::ssl::SslContext;

use crate::core::millis;
use crate::sys::log;

use super::file_stamp::Stamp;

/// The minimum interval between checks of files that handshakes request.
pub(super) const LOOK: Duration = Duration::from_secs(1);

/// Limits an operation to once per [`LOOK`].
#[derive(Debug)]
pub(super) struct Throttle {
    origin: Instant,
    /// The time of the next allowed operation, in milliseconds since then.
    next: AtomicU64,
}

impl Throttle {
    /// Allows the first operation after [`LOOK`].
    pub(super) fn new() -> Self {
        Throttle { origin: Instant::now(), next: AtomicU64::new(millis(LOOK)) }
    }

    /// Whether the operation is due now; true for only one caller.
    pub(super) fn is_due(&self) -> bool {
        let now = millis(self.origin.elapsed());
        let next = self.next.load(Relaxed);
        now >= next && self.next.compare_exchange(next, now + millis(LOOK), Relaxed, Relaxed).is_ok()
    }
}

/// The current state of a name's files.
#[derive(Debug, Clone)]
pub(super) struct Made {
    /// The context; `None` if the files are invalid.
    pub(super) context: Option<SslContext>,
    /// The stamp of the files.
    pub(super) stamp: Stamp,
}

/// A check of files.
type Job = Box<dyn FnOnce(&mut Reported) + Send>;

/// The jobs for the thread.
pub(super) type Jobs = Receiver<Job>;

/// Sends jobs to the thread.
#[derive(Clone)]
pub(super) struct CertLoader(Sender<Job>);

impl fmt::Debug for CertLoader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CertLoader(..)")
    }
}

impl CertLoader {
    /// A loader for a thread that does not run yet.
    pub(super) fn new() -> (Self, Jobs) {
        let (sender, receiver) = mpsc::channel();
        (CertLoader(sender), receiver)
    }

    /// Runs a job on the thread; never waits. Without a thread the job is dropped, together with the sender for its
    /// result.
    pub(super) fn ask(&self, job: impl FnOnce(&mut Reported) + Send + 'static) {
        _ = self.0.send(Box::new(job));
    }
}

/// Starts the thread; it ends when the last sender is dropped.
///
/// # Errors
/// The system cannot create a thread.
pub(super) fn start(jobs: Jobs) -> io::Result<()> {
    std::thread::Builder::new().name("tls files".into()).spawn(move || {
        let mut reported = Reported::default();
        for job in jobs {
            job(&mut reported);
        }
    })?;
    Ok(())
}

/// The states of names' files that were reported: once for each state, not for every worker and every check.
#[derive(Debug, Default)]
pub(super) struct Reported(HashMap<String, Stamp>);

impl Reported {
    /// Warns about the files of a name in this state.
    pub(super) fn warn(&mut self, name: &str, stamp: &Stamp, notices: &[String]) {
        if !notices.is_empty() && self.0.get(name) != Some(stamp) {
            self.0.insert(name.to_owned(), stamp.clone());
            notices.iter().for_each(|notice| log::warn(format_args!("{notice}")));
        }
    }
}
