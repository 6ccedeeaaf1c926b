//! The thread that looks at files while pen serves, so that no worker waits for a disk.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use openssl::ssl::SslContext;
use tokio::sync::oneshot;

use crate::sys::log;

use super::cert_index::CertFiles;
use super::file_stamp::Stamp;
use super::ocsp::Stapling;
use super::sni::Sni;

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
pub(super) enum Request {
    /// Read the directory again.
    Scan(Arc<Sni>, oneshot::Sender<()>),
    /// Make a context for a name. Without an answer, nothing has changed since the stamp.
    Make(Arc<Sni>, Arc<CertFiles>, Option<Stamp>, oneshot::Sender<Made>),
    /// Look whether there is a new OCSP response.
    Staple(Arc<Stapling>),
}

/// How requests get to the thread.
#[derive(Debug, Clone)]
pub(super) struct Loader(Sender<Request>);

impl Loader {
    /// A way to a thread that does not run yet.
    pub(super) fn new() -> (Self, Receiver<Request>) {
        let (sender, receiver) = mpsc::channel();
        (Loader(sender), receiver)
    }

    /// Asks; never waits. Without a thread the request is dropped, and whoever waits for the answer learns of it.
    pub(super) fn ask(&self, request: Request) {
        _ = self.0.send(request);
    }
}

/// Starts the thread; it ends when nobody can ask any more.
///
/// # Errors
/// When the system gives no thread.
pub(super) fn start(requests: Receiver<Request>) -> io::Result<()> {
    std::thread::Builder::new().name("tls files".into()).spawn(move || {
        let mut told = Told::default();
        for request in requests {
            serve(request, &mut told);
        }
    })?;
    Ok(())
}

/// What is wrong with files is said once, not for every worker and every look.
type Told = HashMap<String, Stamp>;

fn serve(request: Request, told: &mut Told) {
    // Who asked may be gone: then nobody wants the answer.
    match request {
        Request::Scan(sni, done) => {
            if let Err(error) = sni.scan() {
                static UNREADABLE: log::Condition = log::Condition::new();
                UNREADABLE.begin(format_args!("ssl_sni_path: {error}"));
            }
            _ = done.send(());
        }
        Request::Make(sni, entry, known, answer) => {
            // Of many handshakes that ask at once, one look does for all.
            if known.as_ref().is_some_and(|known| entry.is_fresh(known, LOOK)) {
                return;
            }
            let stamp = entry.look();
            if known.as_ref() == Some(&stamp) {
                return;
            }
            let (context, notices) = sni.make(&entry, &stamp);
            notices.iter().for_each(|notice| tell(told, &entry.name, &stamp, notice));
            _ = answer.send(Made { context, stamp });
        }
        Request::Staple(stapling) => stapling.refresh(),
    }
}

fn tell(told: &mut Told, name: &str, stamp: &Stamp, text: &str) {
    if told.get(name) != Some(stamp) {
        told.insert(name.to_owned(), stamp.clone());
        log::warn(format_args!("{text}"));
    }
}
