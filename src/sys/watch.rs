//! Waiting, within tokio, until a descriptor is ready.
//!
//! Most event ports report every change of a descriptor once it is registered. Those of Oracle Solaris report one event
//! and forget the descriptor until it is associated again (port_associate(3C)). Tokio's event library does that only
//! when a call on one of its own sockets returns `WouldBlock`: an `AsyncFd` would wait forever, or spin. So on these
//! systems a descriptor is registered as a tokio socket, whatever kind of socket it is. Hence the one rule here: code
//! that finds nothing to do must return `WouldBlock` within [`Watch::try_io`].

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
    /// The event port continues to report changes.
    Descriptor(AsyncFd<Arc<OwnedFd>>),
    /// The event port reports one event, and tokio rearms it.
    Socket(TcpStream),
}

impl Watch {
    /// Registers `descriptor` for at least `interest`. Call it within a runtime.
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

    /// Like [`Watch::new`], for a descriptor that is shared and stays open when this is dropped.
    ///
    /// # Errors
    /// The event port has no room; or there is no descriptor left, where one is needed.
    pub fn shared(descriptor: &Arc<OwnedFd>, interest: Interest) -> io::Result<Self> {
        if emulation::is_one_shot() {
            Self::socket(descriptor.try_clone()?)
        } else {
            Self::register(Arc::clone(descriptor), interest)
        }
    }

    #[allow(
        unsafe_code,
        reason = "registering with tokio requires a guarantee that no safe type of std gives"
    )]
    fn register(descriptor: Arc<OwnedFd>, interest: Interest) -> io::Result<Self> {
        // SAFETY: the AsyncFd holds a reference to the descriptor, which therefore stays open as long, and an OwnedFd
        // never changes its number.
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

    /// Ready when there may be something to read; otherwise stores the waker.
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

    /// Like [`Watch::poll_readable`], for writing. The two wakers are stored separately.
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

    /// Calls `f` if `interest`, of one kind, may be possible. When `f` returns `WouldBlock`, it is not possible until
    /// the event port reports it again. Also returns `WouldBlock` if `f` was not called.
    ///
    /// # Errors
    /// Errors of `f`.
    #[inline]
    pub fn try_io<R>(&self, interest: Interest, f: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        match &self.0 {
            Registered::Descriptor(fd) => fd.try_io(interest, |_| f()),
            Registered::Socket(socket) => socket.try_io(interest, f),
        }
    }

    /// Like [`Watch::try_io`], if there may be something to read or an error.
    ///
    /// # Errors
    /// Errors of `f`.
    pub fn try_read_or_error<R>(&self, f: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        let mut f = Some(f);
        // Tokio ignores combined interests here. The second call then has nothing to do, and clears its interest too.
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

/// Whether `socket` can be watched, which may need a descriptor and room in the event port. Call it within a runtime.
///
/// # Errors
/// See [`Watch::shared`].
pub fn can_watch(socket: &impl AsFd) -> io::Result<()> {
    Watch::shared(&duplicate(socket)?, Interest::READABLE).map(drop)
}

/// A second descriptor of `socket`, for [`Watch::shared`].
///
/// # Errors
/// There is no descriptor left.
pub fn duplicate(socket: &impl AsFd) -> io::Result<Arc<OwnedFd>> {
    Ok(Arc::new(socket.as_fd().try_clone_to_owned()?))
}
