//! Calls on many sockets, made together if the system supports it: most of the cost of a proxy is entering and leaving
//! the kernel.
#![allow(unsafe_code, reason = "the calls are listed as pointers, which borrow checks cannot follow")]

use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use super::datagram::Destination;
use super::platform::call::RawCall;
pub use super::platform::call::Returned;
use super::platform::together::Together;

/// A non-blocking call.
#[derive(Debug)]
pub enum Call<'a> {
    /// Receives into the buffer.
    Receive(BorrowedFd<'a>, &'a mut [u8]),
    /// Sends to the peer that the socket is connected to.
    Send(BorrowedFd<'a>, &'a [u8]),
    /// Sends a datagram to a destination.
    SendTo(BorrowedFd<'a>, &'a [u8], &'a Destination),
}

/// Makes calls, and reuses the memory for listing them.
#[derive(Debug, Default)]
pub struct Calls {
    together: Together,
    raw: Vec<RawCall>,
    messages: Vec<libc::msghdr>,
    parts: Vec<libc::iovec>,
    returned: Vec<Returned>,
}

// SAFETY: only [`Calls::make`] uses the pointers in the lists, and it fills the lists anew each time.
unsafe impl Send for Calls {}

impl Calls {
    /// Makes calls `together` if requested and supported by the system.
    pub fn new(together: bool) -> Self {
        Calls { together: Together::if_wanted(together), ..Self::default() }
    }

    /// Makes all calls in order and returns their results. None is in progress afterwards.
    pub fn make<'a>(&mut self, calls: impl Iterator<Item = Call<'a>>) -> &[Returned] {
        self.raw.clear();
        self.messages.clear();
        self.parts.clear();
        calls.for_each(|call| self.list(call));
        self.point_to_messages();
        // SAFETY: the memory that the lists point to is borrowed for 'a, which lasts until this returns, and the lists
        // themselves are not changed until the calls are over.
        unsafe { self.together.make(&self.raw, &mut self.returned) };
        &self.returned
    }

    fn list(&mut self, call: Call<'_>) {
        self.raw.push(match call {
            Call::Receive(socket, room) => {
                RawCall::Receive { socket: socket.as_raw_fd(), room: room.as_mut_ptr(), length: room.len() }
            }
            Call::Send(socket, bytes) => {
                RawCall::Send { socket: socket.as_raw_fd(), bytes: bytes.as_ptr(), length: bytes.len() }
            }
            Call::SendTo(socket, bytes, destination) => {
                let part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
                self.parts.push(part);
                self.messages.push(destination.header());
                RawCall::SendMessage { socket: socket.as_raw_fd(), message: ptr::null() }
            }
        });
    }

    /// Links the messages to their parts and the calls to their messages, once these have their final addresses.
    fn point_to_messages(&mut self) {
        let mut messages = self.messages.iter_mut().zip(&mut self.parts);
        for call in &mut self.raw {
            if let RawCall::SendMessage { message, .. } = call
                && let Some((header, part)) = messages.next()
            {
                header.msg_iov = part;
                header.msg_iovlen = 1;
                *message = header;
            }
        }
    }
}

#[cfg(test)]
mod tests;
