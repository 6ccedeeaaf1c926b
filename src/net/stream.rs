//! One side of a connection: a plain socket, or TLS over one.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_openssl::SslStream;

use crate::sys::log;
use crate::sys::socket::{self, Operation};
use crate::sys::splice::Pipe;
use crate::sys::tls::has_unread;

use super::socket::Socket;
use super::tls;

/// An established stream; its handshakes are done.
#[derive(Debug)]
pub enum Stream {
    /// Bytes as the socket carries them.
    Plain(Socket),
    /// TLS over TCP, after a successful handshake.
    Tls(Box<SslStream<Socket>>),
}

impl Stream {
    /// Reads into `buf`; 0 is the end of the stream: a FIN, for TLS a close_notify or a FIN without one.
    ///
    /// # Errors
    /// See read(2). A TLS stream that ends within a record is [`io::ErrorKind::UnexpectedEof`].
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(s) => match s.take_ahead(buf) {
                Some(count) => Poll::Ready(Ok(count)),
                None => s.poll_read(cx, buf),
            },
            Self::Tls(s) => poll_read_records(s, cx, ReadBuf::new(buf)),
        }
    }

    /// Like [`Stream::poll_read`], but takes no waker: `WouldBlock` when there is nothing now, for bytes that were put
    /// back, and always for TLS.
    ///
    /// # Errors
    /// See read(2).
    pub fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(s) if !s.has_ahead() => s.try_read(buf),
            Self::Plain(_) | Self::Tls(_) => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Like [`Stream::poll_write`], but takes no waker: `WouldBlock` when the socket accepts nothing now, and always
    /// for TLS. With `last` the end is sent with the bytes; [`Stream::poll_shutdown`] must follow at once.
    ///
    /// # Errors
    /// See write(2).
    pub fn try_write(&self, buf: &[u8], last: bool) -> io::Result<usize> {
        match self {
            Self::Plain(s) => s.try_write(buf, last),
            Self::Tls(_) => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Whether data may have arrived since [`Stream::poll_read`] or [`Stream::poll_fill`] had nothing; costs no system
    /// call. If not, the waker that they were given is still registered.
    pub fn may_be_readable(&self) -> bool {
        match self {
            Self::Plain(s) => s.may_be_readable(),
            // To read, TLS may have to wait until it can write.
            Self::Tls(_) => true,
        }
    }

    /// Waits until the peer has given up, see [`Socket::abandoned`].
    pub async fn abandoned(&self, patience: impl Future<Output = ()>) {
        match self {
            Self::Plain(s) => s.abandoned(patience, false, |_, _| false).await,
            // Its data after the handshake may have been read into the library's buffer.
            Self::Tls(s) => s.get_ref().abandoned(patience, has_unread(s.ssl()), tls::is_farewell).await,
        }
    }

    /// Like [`Stream::may_be_readable`], and registers the waker if there is nothing.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Plain(s) => s.poll_readable(cx),
            Self::Tls(_) => Poll::Ready(()),
        }
    }

    /// Whether the end is known to directly follow the data read so far; costs no system call.
    pub fn is_at_end(&self) -> bool {
        match self {
            Self::Plain(s) => s.is_at_end(),
            Self::Tls(_) => false,
        }
    }

    /// Writes what the socket accepts now, possibly fewer bytes than given. For TLS, a call after `Pending` must offer
    /// at least the same bytes again (SSL_write(3)).
    ///
    /// # Errors
    /// See write(2).
    pub fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(s) if s.has_held() => Pin::new(s).poll_write(cx, buf),
            Self::Plain(s) => s.poll_write(cx, buf),
            Self::Tls(s) => Pin::new(s).poll_write(cx, buf),
        }
    }

    /// The protocol that was negotiated in the TLS handshake (ALPN), if one was.
    pub fn alpn(&self) -> Option<&[u8]> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(s) => s.ssl().selected_alpn_protocol(),
        }
    }

    /// Whether bytes are held that are to go before all that is written; never for TLS, which has sent them with its first
    /// message.
    #[inline]
    pub fn has_held(&self) -> bool {
        matches!(self, Self::Plain(s) if s.has_held())
    }

    /// Sends what is held, see [`Socket::poll_send_held`].
    ///
    /// # Errors
    /// As send(2).
    pub fn poll_send_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(s) => s.poll_send_held(cx),
            Self::Tls(_) => Poll::Ready(Ok(())),
        }
    }

    /// Tells a server of the connection to which nothing was sent yet, see [`Socket::acknowledge`]. With TLS the handshake has told
    /// it.
    pub fn acknowledge(&mut self) {
        if let Self::Plain(s) = self {
            s.acknowledge();
        }
    }

    /// Half close: tells the peer that no more bytes follow (for TLS close_notify, then FIN). Reading continues.
    ///
    /// # Errors
    /// See shutdown(2).
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(s) => {
                ready!(s.poll_send_held(cx))?;
                Poll::Ready(s.shutdown())
            }
            Self::Tls(s) => {
                s.get_mut().set_more_follows(true);
                Pin::new(s).poll_shutdown(cx)
            }
        }
    }

    /// Whether [`Stream::poll_shutdown`] follows what is written next: TLS then sends both together.
    pub fn set_last(&mut self, last: bool) {
        if let Self::Tls(s) = self {
            s.get_mut().set_more_follows(last);
        }
    }

    /// Whether closing it after the peer has ended sends a clean end even without a half close before.
    pub fn closes_cleanly(&self) -> bool {
        !matches!(self, Self::Tls(_))
    }

    /// Makes the following close a reset (RST, RFC 9293 3.10.5) instead of a clean end. Unix sockets have no reset: the
    /// peer sees an end.
    pub fn set_reset_on_close(&self) {
        let tcp = match self {
            Self::Plain(s) => s.is_tcp(),
            Self::Tls(s) => s.get_ref().is_tcp(),
        };
        if tcp {
            socket::reset_on_close(self);
        }
    }

    /// Whether there are received bytes that were not read.
    pub fn has_unread(&self) -> bool {
        let buffered = match self {
            Self::Plain(s) => s.has_ahead(),
            Self::Tls(s) => s.ssl().pending() > 0 || s.get_ref().has_ahead(),
        };
        buffered || SockRef::from(self).peek(&mut [MaybeUninit::uninit()]).is_ok_and(|count| count > 0)
    }

    /// Whether splice(2) can move the bytes of this stream: not if pen itself encrypts them.
    pub fn may_splice(&self) -> bool {
        !matches!(self, Self::Tls(_))
    }

    /// Moves up to `most` bytes into `pipe`, which is empty; 0 is the end of the stream, or urgent data: only
    /// [`Stream::poll_read`] knows.
    ///
    /// # Errors
    /// See [`Pipe::fill`]; `Unsupported` if [`Stream::may_splice`] is false, after urgent data and for bytes that were
    /// put back.
    pub fn poll_fill(&self, cx: &mut Context<'_>, pipe: &mut Pipe, most: usize) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(s) if !s.has_urgent() && !s.has_ahead() => {
                s.poll_when_ready(cx, Operation::Read, || pipe.fill_at_most(s, most))
            }
            Self::Plain(_) | Self::Tls(_) => Poll::Ready(Err(io::ErrorKind::Unsupported.into())),
        }
    }

    /// Moves as many bytes out of `pipe` as the socket accepts now.
    ///
    /// # Errors
    /// See [`Pipe::drain`].
    pub fn poll_drain(&self, cx: &mut Context<'_>, pipe: &mut Pipe) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(s) => s.poll_when_ready(cx, Operation::Write, || pipe.drain(s)),
            Self::Tls(_) => Poll::Ready(Err(io::ErrorKind::Unsupported.into())),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Plain(s) => s.as_fd(),
            Self::Tls(s) => s.get_ref().as_fd(),
        }
    }
}

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl From<Socket> for Stream {
    fn from(socket: Socket) -> Self {
        Self::Plain(socket)
    }
}

impl From<SslStream<Socket>> for Stream {
    fn from(stream: SslStream<Socket>) -> Self {
        Self::Tls(Box::new(stream))
    }
}

/// A TLS read returns one record, 16 KiB at most: collects all available records, so that one write passes them on.
fn poll_read_records(
    stream: &mut SslStream<Socket>,
    cx: &mut Context<'_>,
    mut into: ReadBuf<'_>,
) -> Poll<io::Result<usize>> {
    while into.remaining() > 0 {
        let before = into.filled().len();
        match Pin::new(&mut *stream).poll_read(cx, &mut into) {
            Poll::Ready(Ok(())) if into.filled().len() > before => {}
            // The bytes read so far are returned; the next call meets the same end, error or `Pending` again.
            _ if before > 0 => break,
            Poll::Ready(Ok(())) => return Poll::Ready(end_of_tls(stream)),
            Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
            Poll::Pending => return Poll::Pending,
        }
    }
    Poll::Ready(Ok(into.filled().len()))
}

/// The end of a TLS stream: close_notify, or FIN without it, as browsers and many libraries end theirs. If part of a
/// record has arrived, its data was certainly cut off (RFC 8446 6.1).
fn end_of_tls(stream: &SslStream<Socket>) -> io::Result<usize> {
    if !stream.get_ref().has_ended() {
        return Ok(0);
    }
    if has_unread(stream.ssl()) {
        let why = "the TLS stream was cut off within a record";
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
    }
    if log::debug_level() > 0 {
        let peer = SockRef::from(stream.get_ref()).peer_addr().ok().and_then(|address| address.as_socket());
        let peer = peer.map_or_else(|| "the peer".to_owned(), |address| address.to_string());
        log::debug(1, format_args!("TLS: {peer}: ended with FIN and no close_notify"));
    }
    Ok(0)
}
