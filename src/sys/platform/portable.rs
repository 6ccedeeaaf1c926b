//! The interface of `linux.rs` for every other system, where its functions do nothing or return `Unsupported`.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::net::SendFlags;

use super::lane_transfer::{LaneOwner, LaneTransfer};
use super::together::Together;

/// poll(2) has no event for the end of a peer's stream alone.
pub(in crate::sys) const PEER_ENDED: Option<PollFlags> = None;

/// Only Linux is supported here.
pub(in crate::sys) fn transparent(_socket: &impl AsFd, _family: IpAddr) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// The port is chosen at once.
pub(in crate::sys) fn leave_port_to_connect(_socket: &impl AsFd) {}

/// Other systems acknowledge at once.
pub(in crate::sys) fn acknowledge_with_data(_socket: &impl AsFd) {}

/// Nothing waits for data.
pub(in crate::sys) fn acknowledge(_socket: &impl AsFd) {}

/// Other systems have no filter for the segments that a listening socket receives.
pub(in crate::sys) fn set_syn_filter(_listener: &impl AsFd, _on: bool) -> bool {
    false
}

/// Elsewhere only the umask at the time of the bind counts.
pub(in crate::sys) fn set_mode_before_bind(_socket: &impl AsFd, _mode: u32) -> io::Result<bool> {
    Ok(false)
}

/// Elsewhere nice(2) concerns the whole process.
pub(in crate::sys) fn lower_priority() -> io::Result<()> {
    Ok(())
}

/// Other systems do not tell it in one call.
pub(in crate::sys) fn open_descriptors() -> Option<u64> {
    None
}

/// Other systems have no such flag of a process.
pub(in crate::sys) fn set_dumpable(_on: bool) {}

/// Not reported.
pub(in crate::sys) fn unacknowledged(_socket: BorrowedFd<'_>) -> Option<usize> {
    None
}

/// How long the last datagram read from `socket` had waited in it: unknown.
pub(in crate::sys) fn waited(_socket: BorrowedFd<'_>) -> Option<Duration> {
    None
}

/// The system reports its default errors.
pub(in crate::sys) fn report_icmp_errors(_socket: &impl AsFd) {}

/// There is no queue of errors.
pub(in crate::sys) fn clear_icmp_errors(_socket: &impl AsFd) {}

/// Not reported.
pub(in crate::sys) fn overflowed(_socket: BorrowedFd<'_>) -> Option<u32> {
    None
}

/// There is only tokio's, which does not report urgent data.
pub(in crate::sys) fn has_event_port() -> bool {
    false
}

/// No such flag: these bytes are sent like all others.
pub(in crate::sys) const LAST: SendFlags = SendFlags::empty();

/// Nothing to do: tokio's runtime has its own event port.
pub(in crate::sys) fn prepare_event_port(_together: Together) -> io::Result<()> {
    Ok(())
}

/// Never created: pen has no event port of its own here.
#[derive(Debug)]
pub(in crate::sys) enum PolledFd {}

impl PolledFd {
    pub(in crate::sys) fn new(_socket: OwnedFd) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(in crate::sys) fn poll_any(&self, _cx: &mut Context<'_>, _events: u32) -> Poll<()> {
        match *self {}
    }

    pub(in crate::sys) fn any(&self, _events: u32) -> bool {
        match *self {}
    }

    pub(in crate::sys) fn clear(&self, _events: u32) {
        match *self {}
    }

    pub(in crate::sys) fn lane_to(&self, _destination: &Self, _owner: Box<dyn LaneOwner>) -> Arc<PolledLane> {
        match *self {}
    }
}

impl AsFd for PolledFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match *self {}
    }
}

/// The library allocates its memory as it likes.
pub(in crate::sys) fn watch_library_memory() {}

/// Where a handshake keeps its messages: not known.
#[derive(Debug, Default)]
pub(in crate::sys) struct MessageBuffer;

impl MessageBuffer {
    pub(in crate::sys) fn during<T>(&mut self, step: impl FnOnce() -> T) -> T {
        step()
    }

    /// Does nothing: other systems do not promise that a page that is given back contains zeros.
    ///
    /// # Safety
    /// There is nothing to observe.
    #[allow(unsafe_code, reason = "the interface of Linux")]
    pub(in crate::sys) unsafe fn release_unused(&mut self) {}
}

/// Never created: there is no splice(2).
#[derive(Debug)]
pub(in crate::sys) enum KernelPipe {}

impl KernelPipe {
    pub(in crate::sys) fn new(_size: usize) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(in crate::sys) fn capacity(&self) -> usize {
        match *self {}
    }

    pub(in crate::sys) fn fill(&self, _source: impl AsFd, _most: usize) -> io::Result<usize> {
        match *self {}
    }

    pub(in crate::sys) fn drain(&self, _sink: impl AsFd, _most: usize) -> io::Result<usize> {
        match *self {}
    }

    pub(in crate::sys) fn read(&self, _buffer: &mut [u8]) -> io::Result<usize> {
        match *self {}
    }
}

/// Never made: there is only tokio's event port.
#[derive(Debug)]
pub(in crate::sys) enum ReadyPort {}

impl ReadyPort {
    pub(in crate::sys) fn new() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(in crate::sys) fn add(&self, _socket: impl AsFd, _token: u64) -> io::Result<()> {
        match *self {}
    }

    pub(in crate::sys) fn remove(&self, _socket: impl AsFd) {
        match *self {}
    }

    pub(in crate::sys) fn ready(&self, _tokens: &mut Vec<u64>) -> io::Result<()> {
        match *self {}
    }

    pub(in crate::sys) async fn wait(&self) -> io::Result<()> {
        match *self {}
    }
}

/// Never made: there is no event port of pen's own.
#[derive(Debug)]
pub(in crate::sys) enum PolledLane {}

impl PolledLane {
    pub(in crate::sys) fn set_open(&self, _open: bool) {
        match *self {}
    }

    pub(in crate::sys) fn take(&self) -> Option<LaneTransfer> {
        match *self {}
    }
}
