//! What pen inherits from the process that started it: blocked and ignored signals, open descriptors.

use std::fs;
use std::io;
use std::os::fd::RawFd;
use std::ptr;
use std::sync::OnceLock;

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};

use super::error::context;

/// Descriptors above the standard streams that were open when the program started.
static DESCRIPTORS: OnceLock<Vec<RawFd>> = OnceLock::new();

/// Resets signals to their defaults, and records the open descriptors. Call it before anything is opened and before any
/// thread is started.
///
/// A blocked signal would never arrive. With SIGCHLD ignored no child can be waited for. SIGXFSZ is ignored so that a
/// log that reaches a limit (RLIMIT_FSIZE) fails with an error instead of ending the program.
///
/// # Errors
/// The system refuses.
#[allow(unsafe_code, reason = "signal(2) has no safe wrapper")]
pub fn reset() -> io::Result<()> {
    keep_from_programs(DESCRIPTORS.get_or_init(open_descriptors));
    let refused = |error| context("signals", error);
    SigSet::empty().thread_set_mask().map_err(refused)?;
    // SAFETY: neither is a handler that could run anything.
    unsafe {
        signal(Signal::SIGCHLD, SigHandler::SigDfl).map_err(refused)?;
        signal(Signal::SIGXFSZ, SigHandler::SigIgn).map_err(refused)?;
    }
    Ok(())
}

/// Hides the inherited descriptors from the programs that pen starts.
#[allow(unsafe_code, reason = "a flag of a descriptor by number has no safe wrapper")]
fn keep_from_programs(descriptors: &[RawFd]) {
    for number in descriptors {
        // SAFETY: the call changes a flag of the descriptor, and nothing if it is no longer open.
        unsafe { libc::fcntl(*number, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
}

/// Whether the program was started with SIGINT ignored, as a shell does for background jobs.
#[allow(unsafe_code, reason = "sigaction(2) that only asks has no safe wrapper")]
pub fn is_interrupt_ignored() -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: without a new action the call only writes to the given memory, which is read only if the call succeeded.
    unsafe {
        libc::sigaction(libc::SIGINT, ptr::null(), action.as_mut_ptr()) == 0
            && action.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

/// Closes the descriptors above the standard streams that were open when the program started: a daemon would keep them
/// open as long as it serves, for example a lock, or a pipe whose reader waits for its end. Call it once everything
/// that a command line may name (`/dev/fd/63`) has been read.
#[allow(unsafe_code, reason = "closing by number has no safe wrapper")]
pub(super) fn close_descriptors() {
    for number in DESCRIPTORS.get().into_iter().flatten() {
        // SAFETY: the descriptor was open before the program opened anything, so nothing in it owns this number.
        unsafe { libc::close(*number) };
    }
}

/// The open descriptors above the standard streams, on systems with a directory of them.
fn open_descriptors() -> Vec<RawFd> {
    let Ok(listed) = fs::read_dir("/proc/self/fd") else { return Vec::new() };
    let numbers: Vec<RawFd> = listed
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|n| *n > 2)
        .collect();
    // The descriptor of the directory itself is closed again.
    numbers.into_iter().filter(|number| is_open(*number)).collect()
}

#[allow(unsafe_code, reason = "a number that may not be open has no safe wrapper")]
fn is_open(number: RawFd) -> bool {
    // SAFETY: reading the flags changes nothing, and fails if the descriptor is not open.
    fcntl(unsafe { std::os::fd::BorrowedFd::borrow_raw(number) }, FcntlArg::F_GETFD).is_ok()
}
