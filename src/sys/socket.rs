//! Operations on stream sockets that the crates in use do not have, or only with more cost.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use socket2::{SockAddr, SockRef, Socket};
use tokio::io::Interest;
use tokio::time::Instant;

use super::error::context;
use super::platform::{self, PolledFd, events};
use super::watch::Watch;

/// How often a peer that has sent something is asked whether it is still there, where the event port does not tell.
const LOOK_PAUSE: Duration = Duration::from_millis(250);

/// A stream socket in an event port: in pen's own where the system has one that tells all, else in tokio's.
#[derive(Debug)]
pub struct PolledSocket(Kind);

#[derive(Debug)]
enum Kind {
    Own(PolledFd),
    Tokio(Watch),
}

/// Makes the event port that [`PolledSocket::new`] puts sockets in; otherwise the first socket makes it. To be called within
/// the runtime, while there are descriptors.
///
/// # Errors
/// No descriptor is left.
pub fn prepare() -> io::Result<()> {
    if platform::has_event_port() { platform::prepare_event_port() } else { Ok(()) }
}

/// Which of its sides a socket is to be ready on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Reading.
    Read,
    /// Writing.
    Write,
}

impl Operation {
    fn interest(self) -> Interest {
        match self {
            Self::Read => Interest::READABLE,
            Self::Write => Interest::WRITABLE,
        }
    }

    /// The events that may make it ready, and the one that it is no more when a call has found nothing.
    fn events(self) -> (u32, u32) {
        match self {
            Self::Read => (events::READABLE | events::CLOSED, events::READABLE),
            Self::Write => (events::WRITABLE, events::WRITABLE),
        }
    }
}

impl PolledSocket {
    /// Watches a socket that does not block. To be called within a runtime of one thread, which is to have it all the time.
    ///
    /// # Errors
    /// There is no room in the event port.
    pub fn new(socket: OwnedFd) -> io::Result<Self> {
        if platform::has_event_port() {
            return Ok(Self(Kind::Own(PolledFd::new(socket)?)));
        }
        Watch::new(socket, Interest::READABLE | Interest::WRITABLE).map(|watch| Self(Kind::Tokio(watch)))
    }

    /// Ready when the socket may be ready; else keeps the waker, one for reading and writing together.
    ///
    /// # Errors
    /// The runtime is ending.
    #[inline]
    pub fn poll_ready(&self, cx: &mut Context<'_>, operation: Operation) -> Poll<io::Result<()>> {
        match (&self.0, operation) {
            (Kind::Own(fd), _) => fd.poll_any(cx, operation.events().0).map(Ok),
            (Kind::Tokio(watch), Operation::Read) => watch.poll_readable(cx),
            (Kind::Tokio(watch), Operation::Write) => watch.poll_writable(cx),
        }
    }

    /// Calls `f` if the socket may be ready. `WouldBlock`, from `f` too, means that it is not.
    ///
    /// # Errors
    /// As `f`.
    #[inline]
    pub fn try_io<R>(&self, operation: Operation, f: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        let fd = match &self.0 {
            Kind::Own(fd) => fd,
            Kind::Tokio(watch) => return watch.try_io(operation.interest(), f),
        };
        let (ready, cleared) = operation.events();
        if !fd.any(ready) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let result = f();
        if result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            fd.clear(cleared);
        }
        result
    }

    /// Whether a call that read or wrote something, but less than it was asked for, has left the socket with nothing, until
    /// the event port tells of it again. So says epoll(7), question 9; but a read stops at urgent data (tcp(7)).
    #[inline]
    pub fn short_means_exhausted(&self) -> bool {
        matches!(&self.0, Kind::Own(fd) if !fd.any(events::URGENT))
    }

    /// Whether urgent data has come, as far as the system tells.
    #[inline]
    pub fn has_urgent(&self) -> bool {
        matches!(&self.0, Kind::Own(fd) if fd.any(events::URGENT))
    }

    /// Whether the end of the stream is next, so that it need not be read. To be asked after a read that has left the
    /// socket with nothing: what the event port has told of came before that. TCP alone is known to be like this.
    pub fn is_at_end(&self) -> bool {
        let Kind::Own(fd) = &self.0 else { return false };
        fd.any(events::CLOSED) && !fd.any(events::READABLE | events::ERROR)
    }

    /// Waits until the peer has given up: it has reset the connection, or it has ended it, with nothing left to be read, and
    /// `patience` is over since. To be called while nothing else waits for this socket.
    pub async fn abandoned(&self, patience: Duration) {
        match &self.0 {
            Kind::Own(fd) => {
                poll_fn(|cx| fd.poll_any(cx, events::CLOSED | events::ERROR)).await;
                let reset = poll_fn(|cx| fd.poll_any(cx, events::ERROR));
                match peer_state(fd.as_fd()) {
                    PeerState::Reset => {}
                    PeerState::Ended => _ = tokio::time::timeout(patience, reset).await,
                    // It has half closed after it sent something, and waits for the answer.
                    PeerState::Present => reset.await,
                }
            }
            Kind::Tokio(watch) => {
                _ = poll_fn(|cx| watch.poll_readable(cx)).await;
                let mut end = None;
                loop {
                    let left = match peer_state(watch.as_fd()) {
                        PeerState::Reset => return,
                        PeerState::Ended => {
                            let now = Instant::now();
                            end.get_or_insert(now + patience).saturating_duration_since(now)
                        }
                        PeerState::Present => LOOK_PAUSE,
                    };
                    if left.is_zero() {
                        return;
                    }
                    // Unread bytes stay in the socket, so the event port reports nothing more: the socket is polled.
                    tokio::time::sleep(left.min(LOOK_PAUSE)).await;
                }
            }
        }
    }

    /// How a connect that was begun has ended, once the socket is writable.
    ///
    /// # Errors
    /// As connect(2).
    pub fn connected(&self) -> io::Result<()> {
        match &self.0 {
            // A failed connect is reported as an event (epoll_ctl(2), EPOLLERR).
            Kind::Own(fd) if !fd.any(events::ERROR) => Ok(()),
            _ => SockRef::from(self).take_error()?.map_or(Ok(()), Err),
        }
    }
}

impl AsFd for PolledSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.0 {
            Kind::Own(fd) => fd.as_fd(),
            Kind::Tokio(watch) => watch.as_fd(),
        }
    }
}

/// Lets `socket` connect from `source`, an address that is not this machine's: to be called before binding to it.
///
/// # Errors
/// `Unsupported` where the system cannot (all but Linux); a lack of privilege (on Linux, CAP_NET_ADMIN).
pub fn transparent(socket: &impl AsFd, source: IpAddr) -> io::Result<()> {
    platform::transparent(socket, source).map_err(|error| match error.kind() {
        io::ErrorKind::Unsupported => {
            io::Error::new(error.kind(), "this system has no transparent connections")
        }
        _ => context("cannot make the connection transparent", error),
    })
}

/// What the peer of a stream has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PeerState {
    /// It has sent something that was not read, or it may still send something.
    Present,
    /// It has ended its direction, and nothing that it sent is left to be read.
    Ended,
    /// It has reset the connection.
    Reset,
}

fn peer_state(socket: BorrowedFd<'_>) -> PeerState {
    if !matches!(SockRef::from(&socket).take_error(), Ok(None)) {
        return PeerState::Reset;
    }
    match rustix::net::recv(socket, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
        Ok((_, 0)) => PeerState::Ended,
        Ok(_) | Err(Errno::WOULDBLOCK | Errno::INTR) => PeerState::Present,
        Err(_) => PeerState::Reset,
    }
}

/// Binds a socket that is to connect to `address` alone. Where the system can, the port is chosen when it connects, so that
/// each server has the whole range of ports.
///
/// # Errors
/// As bind(2).
pub fn bind_source(socket: &impl AsFd, address: IpAddr) -> io::Result<()> {
    platform::leave_port_to_connect(socket);
    SockRef::from(socket).bind(&SocketAddr::new(address, 0).into())
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

/// Writes to a stream socket what it takes; `last` bytes are those that the end of the stream follows at once, so that both
/// can go in one packet. A peer that is gone causes no signal: Rust's runtime ignores SIGPIPE.
///
/// # Errors
/// As send(2).
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], last: bool) -> io::Result<usize> {
    let flags = if last { platform::LAST } else { SendFlags::empty() };
    Ok(rustix::net::send(socket, bytes, flags)?)
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
            std::thread::yield_now(); // The last acknowledgement is on its operation.
        }
    }
}
