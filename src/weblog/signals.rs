//! Signals of the programs of the log suite.

use std::io;

use nix::sys::signal::{SigSet, Signal};

/// Lets these signals through, whatever whoever started the program had blocked. Before any other thread exists.
///
/// # Errors
/// Those of pthread_sigmask(3C).
pub(super) fn unblock(signals: &[Signal]) -> io::Result<()> {
    Ok(signals.iter().copied().collect::<SigSet>().thread_unblock()?)
}
