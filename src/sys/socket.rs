//! What no crate tells about a socket.

use std::os::fd::{AsRawFd, BorrowedFd};

/// Bytes written to a stream socket that its peer has not acknowledged yet (tcp(7), unix(7): SIOCOUTQ). `None` where
/// the system does not tell.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
pub fn unacknowledged(socket: BorrowedFd<'_>) -> Option<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: SIOCOUTQ (the number of TIOCOUTQ) writes one int to the address given, which `bytes` is.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if result == 0 { usize::try_from(bytes).ok() } else { None }
}

/// Not known on this system.
#[cfg(not(target_os = "linux"))]
pub fn unacknowledged(socket: BorrowedFd<'_>) -> Option<usize> {
    let _ = socket.as_raw_fd();
    None
}
