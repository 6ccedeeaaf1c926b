//! The body of what only Linux has, for every other system: it is not there, and says so.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll};

use rustix::net::SendFlags;

/// It is elsewhere, and what that system has of its own is to be used.
pub(super) fn plain() -> bool {
    false
}

/// No system but Linux does this here.
pub(super) fn transparent(_socket: &impl AsFd, _family: IpAddr) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Nothing to lift.
pub(super) fn allow_core() {}

/// Not told.
pub(super) fn unacknowledged(_socket: BorrowedFd<'_>) -> Option<usize> {
    None
}

/// None that tokio does not have, and that one does not tell of urgent data.
pub(super) fn tells_all() -> bool {
    false
}

/// As others.
pub(super) const LAST: SendFlags = SendFlags::empty();

/// What is never told.
pub(super) mod events {
    pub(in crate::sys) const READABLE: u32 = 0;
    pub(in crate::sys) const WRITABLE: u32 = 0;
    pub(in crate::sys) const CLOSED: u32 = 0;
    pub(in crate::sys) const ERROR: u32 = 0;
    pub(in crate::sys) const URGENT: u32 = 0;

    pub(in crate::sys) fn prepare() -> std::io::Result<()> {
        Ok(())
    }
}

/// A socket in an event port that is not there.
#[derive(Debug)]
pub(super) enum Member {}

impl Member {
    pub(super) fn new(_socket: OwnedFd) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn poll_any(&self, _cx: &mut Context<'_>, _events: u32) -> Poll<()> {
        match *self {}
    }

    pub(super) fn any(&self, _events: u32) -> bool {
        match *self {}
    }

    pub(super) fn clear(&self, _events: u32) {
        match *self {}
    }
}

impl AsFd for Member {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match *self {}
    }
}

/// A pipe that cannot exist.
#[derive(Debug)]
pub(super) enum KernelPipe {}

impl KernelPipe {
    pub(super) fn new(_size: usize) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn capacity(&self) -> usize {
        match *self {}
    }

    pub(super) fn fill(&self, _source: impl AsFd, _most: usize) -> io::Result<usize> {
        match *self {}
    }

    pub(super) fn drain(&self, _sink: impl AsFd, _most: usize) -> io::Result<usize> {
        match *self {}
    }

    pub(super) fn read(&self, _buffer: &mut [u8]) -> io::Result<usize> {
        match *self {}
    }
}
