//! A stream socket with a minimum of system calls: none is made if the event port has shown that it would return
//! `WouldBlock`.

mod extra_bytes;
mod pending_bytes;

use std::future::poll_fn;
use std::io;
use std::mem;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::sys::socket::{self, Farewell, Lane, LaneOwner, Operation, PolledSocket};

use pending_bytes::ExtraBytes;

/// A connected stream socket, TCP or Unix.
#[derive(Debug)]
pub struct Socket {
    io: PolledSocket,
    is_tcp: bool,
    /// TLS has read up to the end of the stream.
    has_ended: bool,
    /// TLS has met an error of the connection. The system reports it once, and an end from then on (tcp(7)); TLS first
    /// returns the data that it had read before the error, so this end is met later, and must not be taken for a clean
    /// one.
    is_broken: bool,
    /// What TLS writes is followed by more at once.
    more_follows: bool,
    /// The peer may not know of the connection: the acknowledgement that completes the connect waits for data.
    ack_waits: bool,
    /// The last write of TLS was not taken whole. Its rest comes before anything that `more_follows` is said of, and
    /// may have nothing behind it for a long time.
    has_rest: bool,
    /// Most sockets have none.
    extra: Option<Box<ExtraBytes>>,
}

impl Socket {
    /// A connected, non-blocking TCP socket. Call it within a runtime, like all constructors.
    ///
    /// # Errors
    /// There is no room in the event port.
    pub fn tcp(socket: OwnedFd) -> io::Result<Self> {
        Self::new(socket, true)
    }

    /// Like [`Socket::tcp`], for a Unix socket.
    ///
    /// # Errors
    /// There is no room in the event port.
    pub fn unix(socket: OwnedFd) -> io::Result<Self> {
        Self::new(socket, false)
    }

    fn new(socket: OwnedFd, is_tcp: bool) -> io::Result<Self> {
        let io = PolledSocket::new(socket)?;
        Ok(Self {
            io,
            is_tcp,
            has_ended: false,
            is_broken: false,
            more_follows: false,
            ack_waits: false,
            has_rest: false,
            extra: None,
        })
    }

    /// Waits for the end of a connect(2) in progress.
    ///
    /// # Errors
    /// See connect(2).
    pub async fn connected(self) -> io::Result<Self> {
        poll_fn(|cx| self.io.poll_ready(cx, Operation::Write)).await?;
        self.io.connected()?;
        Ok(self)
    }

    /// Waits until the peer has given up: it has reset the connection, or it has closed it with nothing left to be read but a
    /// [`Farewell`], and `patience` is over. Data that is put back, or `unread` elsewhere, counts as left to be read. Call it while
    /// no other task waits for this socket.
    pub async fn abandoned(&self, patience: impl Future<Output = ()>, unread: bool, farewell: Farewell) {
        self.io.abandoned(patience, unread || self.has_ahead(), farewell).await;
    }

    /// Whether its byte-stream reader has met the end.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Whether what TLS writes from now on is followed by more, or by the end of the stream, so that they can share a packet. The
    /// system waits a moment for it, 200 ms on Linux (tcp(7), TCP_CORK).
    pub fn set_more_follows(&mut self, more_follows: bool) {
        self.more_follows = more_follows;
    }

    /// Whether the acknowledgement that completes its connect waits for data, see [`socket::acknowledge_with_data`].
    pub fn set_ack_waits(&mut self, ack_waits: bool) {
        self.ack_waits = ack_waits;
    }

    /// Sends that acknowledgement, if it may still wait.
    pub fn acknowledge(&mut self) {
        if mem::take(&mut self.ack_waits) {
            socket::acknowledge(self);
        }
    }

    /// Whether it is a TCP socket.
    pub fn is_tcp(&self) -> bool {
        self.is_tcp
    }

    /// Reads; 0 is the end.
    ///
    /// # Errors
    /// See recv(2).
    pub fn poll_read(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.poll_io(cx, Operation::Read, || self.try_read(buf))
    }

    /// Like [`Socket::poll_read`], but takes no waker: `WouldBlock` when the socket has no data.
    ///
    /// # Errors
    /// See recv(2).
    #[inline]
    pub fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        let wanted = buf.len();
        self.try_transfer(Operation::Read, wanted, || socket::receive(self.as_fd(), buf))
    }

    /// Writes as much as the socket accepts.
    ///
    /// # Errors
    /// See send(2).
    pub fn poll_write(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_io(cx, Operation::Write, || self.try_write(buf, false))
    }

    /// Like [`Socket::poll_write`], but takes no waker: `WouldBlock` when the socket accepts nothing. With `last` the
    /// end is sent with the bytes; [`Socket::shutdown`] must follow at once.
    ///
    /// # Errors
    /// See send(2).
    #[inline]
    pub fn try_write(&self, buf: &[u8], last: bool) -> io::Result<usize> {
        self.try_transfer(Operation::Write, buf.len(), || socket::send(self.as_fd(), buf, last))
    }

    /// Calls `f`, which reads or writes and returns `WouldBlock` when the socket is not ready.
    ///
    /// # Errors
    /// Errors of `f`.
    pub fn poll_when_ready<R>(
        &self,
        cx: &mut Context<'_>,
        operation: Operation,
        mut f: impl FnMut() -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.poll_io(cx, operation, || self.io.try_io(operation, &mut f))
    }

    /// Whether urgent data has arrived. splice(2) does not get past it: it returns nothing, or an end.
    #[inline]
    pub fn has_urgent(&self) -> bool {
        self.io.has_urgent()
    }

    /// As [`PolledSocket::lane_to`].
    pub fn lane_to(&self, destination: &Self, owner: Box<dyn LaneOwner>) -> Option<Lane> {
        self.io.lane_to(&destination.io, owner)
    }

    /// Half close: no more will be written.
    ///
    /// # Errors
    /// See shutdown(2), except for a peer that is gone: reading reports that.
    pub fn shutdown(&self) -> io::Result<()> {
        match SockRef::from(self).shutdown(Shutdown::Write) {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            result => result,
        }
    }

    /// Whether data may have arrived since there was nothing to read; costs no system call. If not, the waker is still
    /// registered.
    #[inline]
    pub fn may_be_readable(&self) -> bool {
        self.has_ahead() || self.io.try_io(Operation::Read, || Ok(())).is_ok()
    }

    /// Like [`Socket::may_be_readable`], and registers the waker if there is nothing.
    #[inline]
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.has_ahead() {
            return Poll::Ready(());
        }
        self.io.poll_ready(cx, Operation::Read).map(|_| ())
    }

    /// Whether the peer's end directly follows the data read so far, as far as that is known without a system call.
    pub fn is_at_end(&self) -> bool {
        self.is_tcp && !self.has_ahead() && self.io.is_at_end()
    }

    /// Calls `try_it`, which takes no waker, until it returns anything other than `WouldBlock`, or the socket is not
    /// ready.
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

    /// Calls `f`, which transfers up to `wanted` bytes. After fewer, the socket is known not to be ready for more, on
    /// systems that guarantee that.
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
        let more_follows = socket.more_follows && !socket.has_rest;
        let result = match socket.has_held() {
            true => socket.poll_write_held(cx, buf),
            false => socket.poll_io(cx, Operation::Write, || socket.try_write(buf, more_follows)),
        };
        socket.has_rest = match &result {
            Poll::Ready(Ok(count)) => *count < buf.len(),
            Poll::Ready(Err(_)) => false,
            Poll::Pending => true,
        };
        let result = ready!(result);
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

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read};
    use std::net::{TcpListener, TcpStream};
    use std::task::Waker;
    use std::time::Duration;

    use super::*;
    use crate::sys::runtime::current_thread;

    /// How much there is to read, now and within the next 100 ms.
    fn read_all(stream: &mut TcpStream) -> usize {
        let (mut buf, mut all) = (vec![0; 1 << 16], 0);
        loop {
            match stream.read(&mut buf) {
                Ok(count) => all += count,
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return all,
                Err(e) => panic!("{e}"),
            }
        }
    }

    /// Whether the rest of a write that filled the socket comes at once, though more is said to follow.
    async fn rest_comes_at_once(socket: &mut Socket, peer: &mut TcpStream) -> bool {
        let data = vec![7; 64 << 20];
        socket.set_more_follows(false);
        let mut cx = Context::from_waker(Waker::noop());
        let mut written = 0;
        while let Poll::Ready(count) = AsyncWrite::poll_write(Pin::new(socket), &mut cx, &data[written..]) {
            written += count.unwrap();
            assert!(written < data.len(), "the socket takes all");
        }
        assert_eq!(read_all(peer), written);
        socket.set_more_follows(true);
        let rest = &data[..1000];
        assert_eq!(
            poll_fn(|cx| AsyncWrite::poll_write(Pin::new(socket), cx, rest)).await.unwrap(),
            rest.len()
        );
        read_all(peer) == rest.len()
    }

    /// The last part of a flight of a handshake that is larger than the send buffer must not wait for a ticket behind it:
    /// the system would hold it back for 200 ms.
    #[test]
    fn the_rest_of_a_write_is_not_held_back() {
        current_thread().unwrap().block_on(async {
            let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
            let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            peer.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            let near = listener.accept().unwrap().0;
            near.set_nonblocking(true).unwrap();
            let mut socket = Socket::tcp(near.into()).unwrap();
            // One may be late on a busy machine; five are not.
            for _ in 0..5 {
                if rest_comes_at_once(&mut socket, &mut peer).await {
                    return;
                }
            }
            panic!("the rest is held back");
        });
    }
}
