//! Operations on stream sockets that the crates in use lack, or have only at a higher cost.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::io::Errno;
use rustix::io::retry_on_intr;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use socket2::{SockAddr, SockRef, Socket};
use tokio::io::Interest;

use super::error::context;
use super::platform::together::Together;
use super::platform::{self, PolledFd, events};
use super::watch::Watch;

pub use super::platform::lane_transfer::{LANE_ROOM, LaneOwner, LaneStop, LaneTransfer};

/// The interval for checking whether a peer with unread data is still there, if the event port does not report it.
const LOOK_PAUSE: Duration = Duration::from_millis(250);

/// How much unread data is dropped, in bytes.
const SCRAP: usize = 4096;

/// A stream socket in an event port: pen's own if the system has one that reports everything, otherwise tokio's.
#[derive(Debug)]
pub struct PolledSocket(Registration);

#[derive(Debug)]
enum Registration {
    Own(PolledFd),
    /// Boxed: it is much larger.
    Tokio(Box<Watch>),
}

/// Creates the event port for [`PolledSocket::new`], which makes system calls `together` where it can; otherwise the first
/// socket creates it, without that. Call it within the runtime, while descriptors are available.
///
/// # Errors
/// There is no descriptor left.
pub fn prepare(together: bool) -> io::Result<()> {
    if platform::has_event_port() {
        platform::prepare_event_port(Together::if_wanted(together))
    } else {
        Ok(())
    }
}

/// A connection from one socket to another for short messages: while it is open, the event port forwards them itself, many at a
/// time, and wakes the task for anything else. It closes when it leaves something to the task.
#[derive(Debug)]
pub struct Lane(Arc<platform::PolledLane>);

impl Lane {
    /// Opens or closes it. It may be open only while its task waits for the source of the lane, and the destination has taken all
    /// that came before.
    #[inline]
    pub fn set_open(&self, open: bool) {
        self.0.set_open(open);
    }

    /// What it has transferred since the last call, if anything.
    #[inline]
    pub fn take(&self) -> Option<LaneTransfer> {
        self.0.take()
    }
}

/// The operation that a socket must be ready for.
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

    /// The events that may make it ready, and the one that a call without result clears.
    fn events(self) -> (u32, u32) {
        match self {
            Self::Read => (events::READABLE | events::CLOSED, events::READABLE),
            Self::Write => (events::WRITABLE, events::WRITABLE),
        }
    }
}

impl PolledSocket {
    /// Watches a non-blocking socket. Call it within a single-threaded runtime, in which the socket must stay.
    ///
    /// # Errors
    /// There is no room in the event port.
    pub fn new(socket: OwnedFd) -> io::Result<Self> {
        if platform::has_event_port() {
            return Ok(Self(Registration::Own(PolledFd::new(socket)?)));
        }
        Watch::new(socket, Interest::READABLE | Interest::WRITABLE)
            .map(|watch| Self(Registration::Tokio(Box::new(watch))))
    }

    /// Ready when the socket may be ready; otherwise stores the waker, a single one for reading and writing.
    ///
    /// # Errors
    /// The runtime is ending.
    #[inline]
    pub fn poll_ready(&self, cx: &mut Context<'_>, operation: Operation) -> Poll<io::Result<()>> {
        match (&self.0, operation) {
            (Registration::Own(fd), _) => fd.poll_any(cx, operation.events().0).map(Ok),
            (Registration::Tokio(watch), Operation::Read) => watch.poll_readable(cx),
            (Registration::Tokio(watch), Operation::Write) => watch.poll_writable(cx),
        }
    }

    /// Calls `f` if the socket may be ready. `WouldBlock`, also when returned by `f`, means that it is not.
    ///
    /// # Errors
    /// Errors of `f`.
    #[inline]
    pub fn try_io<R>(&self, operation: Operation, f: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        let fd = match &self.0 {
            Registration::Own(fd) => fd,
            Registration::Tokio(watch) => return watch.try_io(operation.interest(), f),
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

    /// Whether a call that transferred fewer bytes than requested has exhausted the socket until the event port reports
    /// it again. That is so with epoll(7), question 9; but a read stops at urgent data (tcp(7)).
    #[inline]
    pub fn short_means_exhausted(&self) -> bool {
        matches!(&self.0, Registration::Own(fd) if !fd.any(events::URGENT))
    }

    /// Makes a closed lane from here to `destination`, for `owner`. Returns `None` if the event port has no lanes. A socket is
    /// the source of one lane at most.
    pub fn lane_to(&self, destination: &Self, owner: Box<dyn LaneOwner>) -> Option<Lane> {
        match (&self.0, &destination.0) {
            (Registration::Own(source), Registration::Own(destination)) => {
                Some(Lane(source.lane_to(destination, owner)))
            }
            _ => None,
        }
    }

    /// Whether urgent data has arrived, as far as the system reports it.
    #[inline]
    pub fn has_urgent(&self) -> bool {
        matches!(&self.0, Registration::Own(fd) if fd.any(events::URGENT))
    }

    /// Whether the end of the stream is next, so that it need not be read. Call it after a read that has exhausted the
    /// socket: events reported before that came earlier. Only TCP is known to behave this way.
    pub fn is_at_end(&self) -> bool {
        let Registration::Own(fd) = &self.0 else { return false };
        fd.any(events::CLOSED) && !fd.any(events::READABLE | events::ERROR)
    }

    /// Waits until the peer has given up: it has reset the connection, or it has closed it with nothing left to be read but a
    /// [`Farewell`], and `patience` is over, which begins then. Data that was read from it already may be `unread` by others. Call
    /// it while no other task waits for this socket.
    pub async fn abandoned(&self, patience: impl Future<Output = ()>, unread: bool, farewell: Farewell) {
        let state = |fd: BorrowedFd<'_>, has_closed| match peer_state(fd, has_closed, farewell) {
            PeerState::Ended if unread => PeerState::Present,
            state => state,
        };
        match &self.0 {
            Registration::Own(fd) => {
                poll_fn(|cx| fd.poll_any(cx, events::CLOSED | events::ERROR)).await;
                let reset = poll_fn(|cx| fd.poll_any(cx, events::ERROR));
                match state(fd.as_fd(), true) {
                    PeerState::Reset => {}
                    PeerState::Ended => tokio::select! {
                        _ = reset => {}
                        () = patience => {}
                    },
                    // It has closed its direction after sending data, and waits for the answer.
                    PeerState::Present => _ = reset.await,
                }
            }
            Registration::Tokio(watch) => {
                _ = poll_fn(|cx| watch.poll_readable(cx)).await;
                let mut patience = pin!(patience);
                loop {
                    // Unread bytes stay in the socket, so the event port reports nothing more: the socket is polled.
                    let pause = tokio::time::sleep(LOOK_PAUSE);
                    match state(watch.as_fd(), false) {
                        PeerState::Reset => return,
                        PeerState::Ended => tokio::select! {
                            biased;
                            () = &mut patience => return,
                            () = pause => {}
                        },
                        PeerState::Present => pause.await,
                    }
                }
            }
        }
    }

    /// The result of a connect, once the socket is writable.
    ///
    /// # Errors
    /// See connect(2).
    pub fn connected(&self) -> io::Result<()> {
        match &self.0 {
            // A failed connect is reported as an event (epoll_ctl(2), EPOLLERR).
            Registration::Own(fd) if !fd.any(events::ERROR) => Ok(()),
            _ => SockRef::from(self).take_error()?.map_or(Ok(()), Err),
        }
    }
}

impl AsFd for PolledSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.0 {
            Registration::Own(fd) => fd.as_fd(),
            Registration::Tokio(watch) => watch.as_fd(),
        }
    }
}

/// Allows `socket` to connect from `source`, an address of another machine. Call it before binding to that.
///
/// # Errors
/// `Unsupported` on systems other than Linux; a missing privilege (on Linux, CAP_NET_ADMIN).
pub fn transparent(socket: &impl AsFd, source: IpAddr) -> io::Result<()> {
    platform::transparent(socket, source).map_err(|error| match error.kind() {
        io::ErrorKind::Unsupported => {
            io::Error::new(error.kind(), "this system has no transparent connections")
        }
        _ => context("cannot make the connection transparent", error),
    })
}

/// Whether unread bytes only say that the peer sends no more; the other argument tells whether it is known to have closed its
/// direction. Bytes beyond [`FAREWELL_MAX`] say more than that.
pub type Farewell = fn(&[u8], bool) -> bool;

const FAREWELL_MAX: usize = 63;

/// The state of a stream's peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PeerState {
    /// It has sent data that was not read, or it may still send data.
    Present,
    /// It has closed its direction, and all its data has been read.
    Ended,
    /// It has reset the connection.
    Reset,
}

fn peer_state(socket: BorrowedFd<'_>, has_closed: bool, farewell: Farewell) -> PeerState {
    if !matches!(SockRef::from(&socket).take_error(), Ok(None)) {
        return PeerState::Reset;
    }
    let mut unread = [0; FAREWELL_MAX + 1];
    match rustix::net::recv(socket, &mut unread[..], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
        Ok((_, 0)) => PeerState::Ended,
        Ok((_, count)) if unread.get(..count).is_some_and(|unread| farewell(unread, has_closed)) => {
            PeerState::Ended
        }
        Ok(_) | Err(Errno::WOULDBLOCK | Errno::INTR) => PeerState::Present,
        Err(_) => PeerState::Reset,
    }
}

/// Binds a socket that will connect only to `address`. If the system supports it, the port is chosen at connect, so
/// that each server has the whole range of ports.
///
/// # Errors
/// See bind(2).
pub fn bind_source(socket: &impl AsFd, address: IpAddr) -> io::Result<()> {
    platform::leave_port_to_connect(socket);
    SockRef::from(socket).bind(&SocketAddr::new(address, 0).into())
}

/// Makes the acknowledgement that completes the connect of a TCP socket go with the first data, which saves a packet. The
/// server is not told of the connection before that, so data must follow at once, or [`acknowledge`].
pub fn acknowledge_with_data(socket: &impl AsFd) {
    platform::acknowledge_with_data(socket);
}

/// Sends the acknowledgement that completes the connect of a TCP socket, if it still waits for data.
pub fn acknowledge(socket: &impl AsFd) {
    platform::acknowledge(socket);
}

/// Makes the following close of a TCP connection a reset (RST, RFC 9293 3.10.5) instead of a clean end.
pub fn reset_on_close(socket: &impl AsFd) {
    // Fails only on a socket that the peer has reset already.
    _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
}

/// Makes the following close of a TCP connection a clean end again.
pub fn end_on_close(socket: &impl AsFd) {
    _ = SockRef::from(socket).set_linger(None);
}

/// Copies what can be read from a non-blocking stream socket into `buf` and leaves it there; 0 is the end.
///
/// # Errors
/// See recv(2).
pub fn peek(socket: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<usize> {
    Ok(retry_on_intr(|| rustix::net::recv(socket, &mut *buf, RecvFlags::PEEK))?.0)
}

/// Drops what can be read from a stream socket, some kilobytes of it. Never waits.
pub fn drop_unread(socket: &impl AsFd) {
    _ = retry_on_intr(|| rustix::net::recv(socket, &mut [0; SCRAP][..], RecvFlags::DONTWAIT));
}

/// A non-blocking stream socket for connecting to `address`.
///
/// # Errors
/// There is no descriptor left.
pub fn stream_to(address: &SockAddr) -> io::Result<Socket> {
    let family = AddressFamily::from_raw(address.family());
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    Ok(rustix::net::socket_with(family, SocketType::STREAM, flags, None)?.into())
}

/// The number of bytes written to a stream socket that its peer has not acknowledged (tcp(7), unix(7): SIOCOUTQ).
/// `None` if the system does not report it.
pub fn unacknowledged(socket: BorrowedFd<'_>) -> Option<usize> {
    platform::unacknowledged(socket)
}

/// Reads from a stream socket; 0 is the end.
///
/// # Errors
/// See recv(2).
pub fn receive(socket: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<usize> {
    Ok(retry_on_intr(|| rustix::net::recv(socket, &mut *buf, RecvFlags::empty()))?.0)
}

/// Writes as many bytes to a stream socket as it accepts. With `last`, the end of the stream follows at once, so that
/// both can share a packet. A lost peer causes no signal: Rust's runtime ignores SIGPIPE.
///
/// # Errors
/// See send(2).
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], last: bool) -> io::Result<usize> {
    let flags = if last { platform::LAST } else { SendFlags::empty() };
    Ok(retry_on_intr(|| rustix::net::send(socket, bytes, flags))?)
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
        // Until both buffers are full.
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
