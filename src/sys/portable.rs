//! The body of what only Linux has, for every other system: it is not there, and says so.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use tokio::io::unix::AsyncFd;
use tokio::io::{Interest, Ready};

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

/// Not of urgent data, as far as tokio passes it on.
pub(super) fn tells_all() -> bool {
    false
}

/// Not told.
pub(super) fn with_urgent(interest: Interest) -> Interest {
    interest
}

/// Not told.
pub(super) fn may_be_urgent<T: AsRawFd>(_socket: &AsyncFd<T>) -> bool {
    false
}

/// Not told.
pub(super) fn is_urgent(_events: Ready) -> bool {
    false
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
