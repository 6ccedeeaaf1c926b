//! Waiting, within tokio, until a descriptor can be read, without reading it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A descriptor that is watched for input.
pub type Watch = AsyncFd<Arc<OwnedFd>>;

/// A second descriptor of `socket`, for [`watch`].
///
/// # Errors
/// No descriptor is left.
pub fn duplicate(socket: &impl AsFd) -> io::Result<Arc<OwnedFd>> {
    Ok(Arc::new(socket.as_fd().try_clone_to_owned()?))
}

/// Watches a non-blocking descriptor for input: clients, datagrams, events. To be called within a runtime.
///
/// # Errors
/// The event port has no room.
#[allow(unsafe_code, reason = "tokio asks for a promise that no safe type of std makes")]
pub fn watch(descriptor: &Arc<OwnedFd>) -> io::Result<Watch> {
    // SAFETY: the AsyncFd holds a reference to the descriptor, which therefore stays open as long, and an OwnedFd never
    // changes its number.
    Ok(unsafe { AsyncFd::register_with_interest(Arc::clone(descriptor), Interest::READABLE) }?)
}
