//! Reading and writing a stream socket at the least cost: the system is asked only where it may have something, and with
//! no call more than that.

use std::io;
use std::os::fd::AsFd;
use std::task::{Context, Poll, ready};

use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};

use crate::sys::socket;

/// What tokio offers of both kinds of stream sockets, and of which it has no trait.
pub(super) trait Plain: AsFd {
    /// Ready when the socket may be ready; takes the waker else.
    fn poll_ready(&self, cx: &mut Context<'_>, interest: Interest) -> Poll<io::Result<()>>;

    /// Calls `f` if the socket may be ready. `WouldBlock`, from `f` too, means that it is not.
    fn try_io<R>(&self, interest: Interest, f: impl FnOnce() -> io::Result<R>) -> io::Result<R>;
}

macro_rules! plain {
    ($kind:ty) => {
        impl Plain for $kind {
            fn poll_ready(&self, cx: &mut Context<'_>, interest: Interest) -> Poll<io::Result<()>> {
                if interest.is_readable() { self.poll_read_ready(cx) } else { self.poll_write_ready(cx) }
            }

            fn try_io<R>(&self, interest: Interest, f: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
                <$kind>::try_io(self, interest, f)
            }
        }
    };
}

plain!(TcpStream);
plain!(UnixStream);

/// Reads; 0 is the end.
///
/// # Errors
/// As recv(2).
pub(super) fn poll_read(s: &impl Plain, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
    let wanted = buf.len();
    poll_transfer(s, cx, Interest::READABLE, wanted, || socket::receive(s.as_fd(), buf))
}

/// As [`poll_read`], but takes no waker: `WouldBlock` when the socket has nothing.
///
/// # Errors
/// As recv(2).
#[inline]
pub(super) fn try_read(s: &impl Plain, buf: &mut [u8]) -> io::Result<usize> {
    let wanted = buf.len();
    try_transfer(s, Interest::READABLE, wanted, || socket::receive(s.as_fd(), buf))
}

/// As [`poll_write`], but takes no waker: `WouldBlock` when the socket takes nothing.
///
/// # Errors
/// As send(2).
#[inline]
pub(super) fn try_write(s: &impl Plain, buf: &[u8]) -> io::Result<usize> {
    try_transfer(s, Interest::WRITABLE, buf.len(), || socket::send(s.as_fd(), buf))
}

/// Writes what the socket takes.
///
/// # Errors
/// As send(2).
pub(super) fn poll_write(s: &impl Plain, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
    poll_transfer(s, cx, Interest::WRITABLE, buf.len(), || socket::send(s.as_fd(), buf))
}

/// Calls `f`, which is to give `WouldBlock` when the socket is not ready.
///
/// # Errors
/// As `f`.
pub(super) fn poll_io<R>(
    s: &impl Plain,
    cx: &mut Context<'_>,
    interest: Interest,
    mut f: impl FnMut() -> io::Result<R>,
) -> Poll<io::Result<R>> {
    loop {
        match s.try_io(interest, &mut f) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => ready!(s.poll_ready(cx, interest))?,
            result => return Poll::Ready(result),
        }
    }
}

/// Calls `f` as [`try_transfer`] does, until the socket is not ready.
fn poll_transfer(
    s: &impl Plain,
    cx: &mut Context<'_>,
    interest: Interest,
    wanted: usize,
    mut f: impl FnMut() -> io::Result<usize>,
) -> Poll<io::Result<usize>> {
    loop {
        match try_transfer(s, interest, wanted, &mut f) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => ready!(s.poll_ready(cx, interest))?,
            result => return Poll::Ready(result),
        }
    }
}

/// Calls `f`, which transfers up to `wanted` bytes. After fewer, the socket is known not to be ready for more, where
/// the system's event port tells of every change (epoll(7), question 9).
#[inline]
fn try_transfer(
    s: &impl Plain,
    interest: Interest,
    wanted: usize,
    f: impl FnOnce() -> io::Result<usize>,
) -> io::Result<usize> {
    let mut short = None;
    let result = s.try_io(interest, || match f()? {
        count if 0 < count && count < wanted && socket::short_means_exhausted() => {
            short = Some(count);
            Err(io::ErrorKind::WouldBlock.into())
        }
        count => Ok(count),
    });
    short.map_or(result, Ok)
}
