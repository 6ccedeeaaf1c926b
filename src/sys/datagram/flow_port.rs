//! Waiting for datagrams on many sockets at once.

use std::io;
use std::os::fd::AsFd;

use crate::sys::platform::ReadyPort;

/// An event port for the socket that clients send to and those of their flows, each known by a token.
#[derive(Debug)]
pub struct FlowPort(ReadyPort);

impl FlowPort {
    /// To be called within a runtime.
    ///
    /// # Errors
    /// `Unsupported` where the system has none that suits; no descriptor is left.
    pub fn new() -> io::Result<Self> {
        ReadyPort::new().map(Self)
    }

    /// Tells by `token` when there are datagrams or an error in the socket, until that is closed.
    ///
    /// # Errors
    /// The event port has no room.
    pub fn add(&self, socket: &impl AsFd, token: u64) -> io::Result<()> {
        self.0.add(socket, token)
    }

    /// Replaces `tokens` by those of sockets that are ready, none if there is none. A socket stays ready until all that it has
    /// is received.
    ///
    /// # Errors
    /// As epoll_wait(2).
    pub fn ready(&self, tokens: &mut Vec<u64>) -> io::Result<()> {
        self.0.ready(tokens)
    }

    /// Waits until a socket may be ready.
    ///
    /// # Errors
    /// The runtime is ending.
    pub async fn wait(&self) -> io::Result<()> {
        self.0.wait().await
    }
}
