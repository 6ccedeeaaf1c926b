//! A stream socket with the fewest system calls: none is made where the event port has shown that it would return
//! `WouldBlock`.

mod beside;
mod part;

use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::sys::socket::{self, Carrier, Lane, Operation, PolledSocket};

use part::Beside;

/// A connected stream socket, TCP or Unix.
#[derive(Debug)]
pub struct Socket {
    io: PolledSocket,
    is_tcp: bool,
    /// TLS has read up to the end of the stream.
    has_ended: bool,
    /// TLS has met an error of the connection. The system tells of it once, and of an end from then on (tcp(7)); what TLS
    /// had read before the error goes first, so that this end is met later, and must not pass for a clean one.
    is_broken: bool,
    /// Most sockets have none.
    beside: Option<Box<Beside>>,
}

impl Socket {
    /// Of TCP, connected, and not blocking. To be called within a runtime, like all that makes one.
    ///
    /// # Errors
    /// There is no room in the event port.
    pub fn tcp(socket: OwnedFd) -> io::Result<Self> {
        Self::new(socket, true)
    }

    /// As [`Socket::tcp`], of the Unix kind.
    ///
    /// # Errors
    /// There is no room in the event port.
    pub fn unix(socket: OwnedFd) -> io::Result<Self> {
        Self::new(socket, false)
    }

    fn new(socket: OwnedFd, is_tcp: bool) -> io::Result<Self> {
        let io = PolledSocket::new(socket)?;
        Ok(Self { io, is_tcp, has_ended: false, is_broken: false, beside: None })
    }

    /// Waits for the end of a connect(2) that was begun.
    ///
    /// # Errors
    /// As connect(2).
    pub async fn connected(self) -> io::Result<Self> {
        poll_fn(|cx| self.io.poll_ready(cx, Operation::Write)).await?;
        self.io.connected()?;
        Ok(self)
    }

    /// Waits until the peer has given up: it has reset the connection, or it has ended it, with nothing left to be read, and
    /// `patience` is over since. To be called while nothing else waits for this socket.
    pub async fn abandoned(&self, patience: Duration) {
        if self.has_ahead() {
            // It waits for the answer to that.
            std::future::pending().await
        }
        self.io.abandoned(patience).await;
    }

    /// Whether what reads it as a stream of bytes has met its end.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Whether it is one of TCP.
    pub fn is_tcp(&self) -> bool {
        self.is_tcp
    }

    /// Reads; 0 is the end.
    ///
    /// # Errors
    /// As recv(2).
    pub fn poll_read(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.poll_io(cx, Operation::Read, || self.try_read(buf))
    }

    /// As [`Socket::poll_read`], but takes no waker: `WouldBlock` when the socket has nothing.
    ///
    /// # Errors
    /// As recv(2).
    #[inline]
    pub fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        let wanted = buf.len();
        self.try_transfer(Operation::Read, wanted, || socket::receive(self.as_fd(), buf))
    }

    /// Writes what the socket takes.
    ///
    /// # Errors
    /// As send(2).
    pub fn poll_write(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_io(cx, Operation::Write, || self.try_write(buf, false))
    }

    /// As [`Socket::poll_write`], but takes no waker: `WouldBlock` when the socket takes nothing. The end goes with `last`
    /// bytes, which [`Socket::shutdown`] is to follow at once.
    ///
    /// # Errors
    /// As send(2).
    #[inline]
    pub fn try_write(&self, buf: &[u8], last: bool) -> io::Result<usize> {
        self.try_transfer(Operation::Write, buf.len(), || socket::send(self.as_fd(), buf, last))
    }

    /// Calls `f`, which reads or writes and gives `WouldBlock` when the socket is not ready.
    ///
    /// # Errors
    /// As `f`.
    pub fn poll_when_ready<R>(
        &self,
        cx: &mut Context<'_>,
        operation: Operation,
        mut f: impl FnMut() -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.poll_io(cx, operation, || self.io.try_io(operation, &mut f))
    }

    /// Whether urgent data has come. Splice(2) does not get past it: it finds nothing, or an end.
    #[inline]
    pub fn has_urgent(&self) -> bool {
        self.io.has_urgent()
    }

    /// As [`PolledSocket::lane_to`].
    pub fn lane_to(&self, destination: &Self, carrier: Box<dyn Carrier>) -> Option<Lane> {
        self.io.lane_to(&destination.io, carrier)
    }

    /// Half close: no more will be written.
    ///
    /// # Errors
    /// As shutdown(2), but for a peer that is gone: reading tells how.
    pub fn shutdown(&self) -> io::Result<()> {
        match SockRef::from(self).shutdown(Shutdown::Write) {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            result => result,
        }
    }

    /// Whether something may have come since it had nothing to read; costs no system call. While not, the waker is still in
    /// its place.
    #[inline]
    pub fn may_be_readable(&self) -> bool {
        self.has_ahead() || self.io.try_io(Operation::Read, || Ok(())).is_ok()
    }

    /// As [`Socket::may_be_readable`], and takes the waker while there is nothing.
    #[inline]
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.has_ahead() {
            return Poll::Ready(());
        }
        self.io.poll_ready(cx, Operation::Read).map(|_| ())
    }

    /// Whether the peer's end follows what has been read, and nothing else, as far as that is known without asking.
    pub fn is_at_end(&self) -> bool {
        self.is_tcp && !self.has_ahead() && self.io.is_at_end()
    }

    /// Calls `try_it`, which takes no waker, until it returns something else than `WouldBlock`, or the socket is not ready.
    fn poll_io<R>(
        &self,
        cx: &mut Context<'_>,
        operation: Operation,
        mut try_it: impl FnMut() -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        loop {
            match try_it() {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => ready!(self.io.poll_ready(cx, operation))?,
                result => return Poll::Ready(result),
            }
        }
    }

    /// Calls `f`, which transfers up to `wanted` bytes. After fewer, the socket is known not to be ready for more, where
    /// the system tells so.
    #[inline]
    fn try_transfer(
        &self,
        operation: Operation,
        wanted: usize,
        f: impl FnOnce() -> io::Result<usize>,
    ) -> io::Result<usize> {
        let mut short = None;
        let result = self.io.try_io(operation, || match f()? {
            count if 0 < count && count < wanted && self.io.short_means_exhausted() => {
                short = Some(count);
                Err(io::ErrorKind::WouldBlock.into())
            }
            count => Ok(count),
        });
        short.map_or(result, Ok)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

// The stream as OpenSSL uses it.
impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let socket = self.get_mut();
        if let Some(count) = socket.take_ahead(buf.initialize_unfilled()) {
            buf.advance(count);
            return Poll::Ready(Ok(()));
        }
        let result = ready!(Socket::poll_read(socket, cx, buf.initialize_unfilled()));
        socket.is_broken |= result.is_err();
        let count = result?;
        if count == 0 && socket.is_broken {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        socket.has_ended |= count == 0;
        buf.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let socket = self.get_mut();
        let result = ready!(match socket.has_held() {
            true => socket.poll_write_held(cx, buf),
            false => Socket::poll_write(socket, cx, buf),
        });
        socket.is_broken |= result.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::ConnectionReset);
        Poll::Ready(result)
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.shutdown())
    }
}
