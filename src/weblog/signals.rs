//! Signals in the programs of the log suite.

use std::io;

use nix::sys::signal::{SigSet, Signal};

/// Unblocks these signals, which the process that started the program may have blocked. Call it before any other thread
/// exists.
///
/// # Errors
/// Errors of pthread_sigmask(3C).
pub(super) fn unblock(signals: &[Signal]) -> io::Result<()> {
    Ok(signals.iter().copied().collect::<SigSet>().thread_unblock()?)
}
