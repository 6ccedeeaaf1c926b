//! Waiting, within tokio, until a descriptor is ready.
//!
//! Most event ports report every change of a descriptor once it is registered. Those of Oracle Solaris report one event and
//! forget the descriptor until it is associated anew (port_associate(3C)). Tokio's event library does that where a call on
//! one of its own sockets would block, and for nothing else: an `AsyncFd` would wait for ever, or spin. There a descriptor is
//! registered as a socket of tokio's, whatever kind of socket it is, which is the reason for the one rule here: whoever
//! finds nothing to do says so by returning `WouldBlock` within [`Watch::try_io`].

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::TcpStream;

use super::emulation;

/// A non-blocking descriptor that is registered with the runtime.
#[derive(Debug)]
pub struct Watch(Registered);

#[derive(Debug)]
enum Registered {
    /// The event port goes on reporting changes.
    Descriptor(AsyncFd<Arc<OwnedFd>>),
    /// The event port reports one event, and tokio arms it anew.
    Socket(TcpStream),
}

impl Watch {
    /// Registers `descriptor`, for `interest` at least. To be called within a runtime.
    ///
    /// # Errors
    /// The event port has no room.
    pub fn new(descriptor: OwnedFd, interest: Interest) -> io::Result<Self> {
        if emulation::is_one_shot() {
            Self::socket(descriptor)
        } else {
            Self::register(descriptor.into(), interest)
        }
    }

    /// As [`Watch::new`], for a descriptor that others use too and that stays open when this is dropped.
    ///
    /// # Errors
    /// The event port has no room; no descriptor is left, where one is needed.
    pub fn shared(descriptor: &Arc<OwnedFd>, interest: Interest) -> io::Result<Self> {
        if emulation::is_one_shot() {
            Self::socket(descriptor.try_clone()?)
        } else {
            Self::register(Arc::clone(descriptor), interest)
        }
    }

    #[allow(unsafe_code, reason = "tokio asks for a promise that no safe type of std makes")]
    fn register(descriptor: Arc<OwnedFd>, interest: Interest) -> io::Result<Self> {
        // SAFETY: the AsyncFd holds a reference to the descriptor, which therefore stays open as long, and an OwnedFd never
        // changes its number.
        let fd = unsafe { AsyncFd::register_with_interest(descriptor, interest) }?;
        Ok(Self(Registered::Descriptor(fd)))
    }

    fn socket(descriptor: OwnedFd) -> io::Result<Self> {
        TcpStream::from_std(descriptor.into()).map(|socket| Self(Registered::Socket(socket)))
    }

    /// Waits until one of `interest` may be possible.
    ///
    /// # Errors
    /// The runtime is ending.
    pub async fn ready(&self, interest: Interest) -> io::Result<()> {
        match &self.0 {
            Registered::Descriptor(fd) => fd.ready(interest).await.map(drop),
            Registered::Socket(socket) => socket.ready(interest).await.map(drop),
        }
    }

    /// Waits until there may be something to read.
    ///
    /// # Errors
    /// The runtime is ending.
    pub async fn readable(&self) -> io::Result<()> {
        self.ready(Interest::READABLE).await
    }

    /// Ready when there may be something to read; keeps the waker otherwise.
    ///
    /// # Errors
    /// The runtime is ending.
    #[inline]
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.0 {
            Registered::Descriptor(fd) => fd.poll_read_ready(cx).map_ok(drop),
            Registered::Socket(socket) => socket.poll_read_ready(cx),
        }
    }

    /// As [`Watch::poll_readable`], for writing. The two wakers are kept apart.
    ///
    /// # Errors
    /// The runtime is ending.
    #[inline]
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.0 {
            Registered::Descriptor(fd) => fd.poll_write_ready(cx).map_ok(drop),
            Registered::Socket(socket) => socket.poll_write_ready(cx),
        }
    }

    /// Calls `f` if `interest`, of one kind, may be possible. When `f` returns `WouldBlock`, it is not any more, until the event port
    /// reports it again. `WouldBlock` also when `f` was not called.
    ///
    /// # Errors
    /// As `f`.
    #[inline]
    pub fn try_io<R>(&self, interest: Interest, f: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        match &self.0 {
            Registered::Descriptor(fd) => fd.try_io(interest, |_| f()),
            Registered::Socket(socket) => socket.try_io(interest, f),
        }
    }

    /// As [`Watch::try_io`], if there may be something to read or an error.
    ///
    /// # Errors
    /// As `f`.
    pub fn try_read_or_error<R>(&self, f: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        let mut f = Some(f);
        // Tokio takes interests of several kinds for none here. Whichever comes second finds nothing, and is cleared as well.
        let mut once = || f.take().map_or_else(|| Err(io::ErrorKind::WouldBlock.into()), |f| f());
        match self.try_io(Interest::READABLE, &mut once) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.try_io(Interest::ERROR, &mut once)
            }
            result => result,
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.0 {
            Registered::Descriptor(fd) => fd.get_ref().as_fd(),
            Registered::Socket(socket) => socket.as_fd(),
        }
    }
}

/// Whether `socket` can be waited for, which may take a descriptor and room in the event port. To be called within a runtime.
///
/// # Errors
/// As [`Watch::shared`].
pub fn can_watch(socket: &impl AsFd) -> io::Result<()> {
    Watch::shared(&duplicate(socket)?, Interest::READABLE).map(drop)
}

/// A second descriptor of `socket`, for [`Watch::shared`].
///
/// # Errors
/// No descriptor is left.
pub fn duplicate(socket: &impl AsFd) -> io::Result<Arc<OwnedFd>> {
    Ok(Arc::new(socket.as_fd().try_clone_to_owned()?))
}
