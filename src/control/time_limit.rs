//! Work that waits for others, with a limit of its time.

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use crate::sys::runtime;

/// Carries out `work` on a thread of its own, which is left behind when the limit is reached: a name that is looked up and
/// a connect to a path cannot be interrupted on every system.
///
/// # Errors
/// Those of `work`; it has not ended within `limit`; the system cannot create the thread.
pub(super) fn within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let run = move || {
        // Nobody takes a result that is late.
        _ = sender.send(work());
    };
    runtime::start_blocking(run)?;
    match receiver.recv_timeout(limit) {
        Ok(result) => result,
        Err(RecvTimeoutError::Timeout) => Err(late(limit)),
        Err(RecvTimeoutError::Disconnected) => Err(io::Error::other("an internal error of penctl")),
    }
}

/// The error of an answer that has not come within `limit`.
pub(super) fn late(limit: Duration) -> io::Error {
    let text = format!("expected an answer within {} s, got none", limit.as_secs_f64());
    io::Error::new(io::ErrorKind::TimedOut, text)
}
