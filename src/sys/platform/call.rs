//! A call on a socket in the system's form.
#![allow(
    unsafe_code,
    reason = "the calls of a batch are made by the system after they were listed, from plain pointers"
)]

use std::io;
use std::os::fd::RawFd;

/// A non-blocking call. The caller is responsible for the memory that it points to.
#[derive(Debug, Clone, Copy)]
pub(in crate::sys) enum RawCall {
    /// recv(2)
    Receive { socket: RawFd, room: *mut u8, length: usize },
    /// send(2)
    Send { socket: RawFd, bytes: *const u8, length: usize },
    /// sendmsg(2)
    SendMessage { socket: RawFd, message: *const libc::msghdr },
}

/// The result of a call: its count, or the negative error number.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Returned(pub(super) i32);

impl Returned {
    /// The number of bytes that the call has received or sent.
    ///
    /// # Errors
    /// See recv(2) and send(2).
    pub fn count(self) -> io::Result<usize> {
        usize::try_from(self.0).map_err(|_| io::Error::from_raw_os_error(self.0.saturating_neg()))
    }

    /// Whether a signal interrupted it: the call must be repeated.
    pub(in crate::sys) fn is_interrupted(self) -> bool {
        self.0 == -libc::EINTR
    }
}

impl RawCall {
    /// Makes this single call.
    ///
    /// # Safety
    /// The memory that it points to must be valid for the given length, and must not be in use elsewhere.
    pub(in crate::sys) unsafe fn make(self) -> Returned {
        loop {
            // SAFETY: guaranteed by the caller.
            let count = unsafe {
                match self {
                    RawCall::Receive { socket, room, length } => {
                        libc::recv(socket, room.cast(), length, libc::MSG_DONTWAIT)
                    }
                    RawCall::Send { socket, bytes, length } => {
                        libc::send(socket, bytes.cast(), length, libc::MSG_DONTWAIT)
                    }
                    RawCall::SendMessage { socket, message } => {
                        libc::sendmsg(socket, message, libc::MSG_DONTWAIT)
                    }
                }
            };
            if count >= 0 {
                return Returned(i32::try_from(count).unwrap_or(i32::MAX));
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Returned(-error.raw_os_error().unwrap_or(libc::EIO));
            }
        }
    }
}
