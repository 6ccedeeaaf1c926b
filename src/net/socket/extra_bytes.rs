//! Bytes that precede those of the stream: read early and put back, or sent before everything else that is written.

use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};

use socket2::SockRef;

use crate::sys::socket::Operation;

use super::Socket;
use super::pending_bytes::{ExtraBytes, PendingBytes};

impl Socket {
    /// Puts back bytes that were read from it: they come first, before those that were put back earlier and are still there, to
    /// whoever takes them by [`Socket::take_ahead`] before each read.
    pub fn put_back(&mut self, mut bytes: Vec<u8>) {
        let ahead = &mut self.extra.get_or_insert_default().ahead;
        bytes.extend_from_slice(ahead.remaining());
        *ahead = PendingBytes::new(bytes);
        self.forget_done();
    }

    /// Takes bytes that were put back; `None` when there are none.
    #[inline]
    pub fn take_ahead(&mut self, into: &mut [u8]) -> Option<usize> {
        if self.has_ahead() { self.take_some(into) } else { None }
    }

    fn take_some(&mut self, into: &mut [u8]) -> Option<usize> {
        let ExtraBytes { ahead, .. } = self.extra.as_deref_mut()?;
        let rest = ahead.remaining();
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        ahead.advance(count);
        self.forget_done();
        Some(count)
    }

    /// Whether bytes were put back and not taken.
    #[inline]
    pub fn has_ahead(&self) -> bool {
        self.extra.as_ref().is_some_and(|extra| !extra.ahead.remaining().is_empty())
    }

    /// Holds bytes that are to go before all that is written, with the first of that, or by [`Socket::poll_send_held`].
    pub fn hold(&mut self, bytes: Vec<u8>) {
        self.extra.get_or_insert_default().held = PendingBytes::new(bytes);
        self.forget_done();
    }

    /// Whether bytes are held.
    #[inline]
    pub fn has_held(&self) -> bool {
        self.extra.as_ref().is_some_and(|extra| !extra.held.remaining().is_empty())
    }

    /// Gives the memory back once nothing is left.
    fn forget_done(&mut self) {
        if self.extra.as_ref().is_some_and(|extra| extra.is_done()) {
            self.extra = None;
        }
    }

    /// Sends what is held, alone. What is written then goes out at once, and does not wait until the peer has acknowledged
    /// this (RFC 9293 3.7.4, the Nagle algorithm).
    ///
    /// # Errors
    /// As send(2).
    pub fn poll_send_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.has_held() {
            if self.is_tcp {
                // Fails only on a socket that is broken, which the send tells.
                _ = SockRef::from(&*self).set_tcp_nodelay(true);
            }
            ready!(self.poll_write_held(cx, &[]))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Sends what is held, and `bytes` with it; returns how many of those were sent.
    pub(super) fn poll_write_held(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        while let Some(extra) = self.extra.as_deref().filter(|_| self.has_held()) {
            let held = extra.held.remaining();
            let wanted = held.len() + bytes.len();
            let sent = ready!(self.poll_io(cx, Operation::Write, || {
                self.try_transfer(Operation::Write, wanted, || {
                    SockRef::from(&*self).send_vectored(&[IoSlice::new(held), IoSlice::new(bytes)])
                })
            }))?;
            let own = held.len().min(sent);
            if let Some(extra) = self.extra.as_deref_mut() {
                extra.held.advance(own);
            }
            self.forget_done();
            if !self.has_held() && (sent > own || bytes.is_empty()) {
                return Poll::Ready(Ok(sent - own));
            }
        }
        self.poll_write(cx, bytes)
    }
}
