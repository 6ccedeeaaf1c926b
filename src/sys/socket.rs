//! What no crate does with a socket, or none as directly.

use std::future::Future;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use socket2::{SockAddr, SockRef, Socket};
use tokio::io::unix::AsyncFd;
use tokio::io::{Interest, Ready};

use super::platform;

/// A stream socket in the event port of the runtime.
#[derive(Debug)]
pub struct Watched(AsyncFd<OwnedFd>);

impl Watched {
    /// Watches a socket that does not block. To be called within a runtime.
    ///
    /// # Errors
    /// There is no room in the event port.
    #[allow(unsafe_code, reason = "tokio asks for a promise that no safe type of std makes")]
    pub fn new(socket: OwnedFd) -> io::Result<Self> {
        let interest = platform::with_urgent(Interest::READABLE | Interest::WRITABLE);
        // SAFETY: an OwnedFd stays open and never changes its number, and nobody gets at this one to put another in its
        // place.
        Ok(Self(unsafe { AsyncFd::register_with_interest(socket, interest) }?))
    }

    /// Ready when the socket may be ready for `interest`, to read or to write; takes the waker else.
    ///
    /// # Errors
    /// The runtime is ending.
    pub fn poll_ready(&self, cx: &mut Context<'_>, interest: Interest) -> Poll<io::Result<()>> {
        let ready =
            if interest.is_readable() { self.0.poll_read_ready(cx) } else { self.0.poll_write_ready(cx) };
        ready.map_ok(|_| ())
    }

    /// Calls `f` if the socket may be ready. `WouldBlock`, from `f` too, means that it is not.
    ///
    /// # Errors
    /// As `f`.
    #[inline]
    pub fn try_io<R>(&self, interest: Interest, f: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        self.0.try_io(interest, |_| f())
    }

    /// Whether a call that read or wrote something, but less than it was asked for, has left the socket with nothing, until
    /// the event port tells of it again. So says epoll(7), question 9; but a read stops at urgent data (tcp(7)).
    #[inline]
    pub fn short_means_exhausted(&self) -> bool {
        platform::tells_all() && !self.has_urgent()
    }

    /// Whether urgent data has come, as far as the system tells.
    #[inline]
    pub fn has_urgent(&self) -> bool {
        // First what costs little; it says yes at the end of the stream, too.
        platform::may_be_urgent(&self.0) && platform::is_urgent(self.events())
    }

    /// Whether the end of the stream is next, so that it need not be read. To be asked after a read that has left the
    /// socket with nothing: what the event port has told of came before that. TCP alone is known to be like this.
    pub fn is_at_end(&self) -> bool {
        let events = self.events();
        let unread = (events - Ready::READ_CLOSED).is_readable();
        platform::tells_all() && events.is_read_closed() && !unread && !events.is_error()
    }

    /// How a connect that was begun has ended, once the socket is writable.
    ///
    /// # Errors
    /// As connect(2).
    pub fn connected(&self) -> io::Result<()> {
        // A failure is an event (epoll_ctl(2), EPOLLERR).
        if platform::tells_all() && self.0.try_io(Interest::ERROR, |_| Ok(())).is_err() {
            return Ok(());
        }
        SockRef::from(&self.0).take_error()?.map_or(Ok(()), Err)
    }

    /// What the event port has told of the reading side.
    fn events(&self) -> Ready {
        let interest = platform::with_urgent(Interest::READABLE | Interest::ERROR);
        match pin!(self.0.ready(interest)).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(guard)) => guard.ready(),
            _ => Ready::EMPTY,
        }
    }
}

impl AsFd for Watched {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A stream socket for connecting to `address` that does not block.
///
/// # Errors
/// No descriptor is left.
pub fn stream_to(address: &SockAddr) -> io::Result<Socket> {
    let family = AddressFamily::from_raw(address.family());
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    Ok(rustix::net::socket_with(family, SocketType::STREAM, flags, None)?.into())
}

/// Bytes written to a stream socket that its peer has not acknowledged yet (tcp(7), unix(7): SIOCOUTQ). `None` where
/// the system does not tell.
pub fn unacknowledged(socket: BorrowedFd<'_>) -> Option<usize> {
    platform::unacknowledged(socket)
}

/// Reads from a stream socket; 0 is the end.
///
/// # Errors
/// As recv(2).
pub fn receive(socket: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<usize> {
    Ok(rustix::net::recv(socket, buf, RecvFlags::empty())?.0)
}

/// Writes to a stream socket what it takes. No signal comes of a peer that is gone: Rust's start-up ignores SIGPIPE.
///
/// # Errors
/// As send(2).
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    Ok(rustix::net::send(socket, bytes, SendFlags::empty())?)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn counts_what_the_peer_has_not_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let mut client = TcpStream::connect(listener.local_addr().expect("bound")).expect("connects");
        let (mut server, _) = listener.accept().expect("accepts");
        let Some(before) = unacknowledged(client.as_fd()) else {
            assert!(cfg!(not(target_os = "linux")) || std::env::var_os("PEN_PORTABLE").is_some());
            return;
        };
        assert_eq!(before, 0);
        // Until no more fits between the two.
        client.set_nonblocking(true).expect("non-blocking");
        let mut written = 0;
        while let Ok(count) = client.write(&[7; 65536]) {
            written += count;
        }
        let waiting = unacknowledged(client.as_fd()).expect("told");
        assert!(0 < waiting && waiting <= written, "{waiting} of {written}");
        drop(listener);
        server.read_exact(&mut vec![0; written]).expect("everything arrives");
        while unacknowledged(client.as_fd()) != Some(0) {
            std::thread::yield_now(); // The last acknowledgement is on its way.
        }
    }
}
