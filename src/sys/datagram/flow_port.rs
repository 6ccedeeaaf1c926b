//! Waits for datagrams on many sockets at once.

use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Weak};

use crate::sys::platform::ReadyPort;

/// An event port for the socket that clients send to and those of their flows, each identified by a token.
#[derive(Debug)]
pub struct FlowPort(Arc<ReadyPort>);

impl FlowPort {
    /// Call it within a runtime.
    ///
    /// # Errors
    /// `Unsupported` if the system has no suitable one; or there is no descriptor left.
    pub fn new() -> io::Result<Self> {
        ReadyPort::new().map(|port| Self(Arc::new(port)))
    }

    /// Reports datagrams or an error of the socket that clients send to by `token`, as long as there is this port. For that of a
    /// flow there is [`UpstreamSocket::join`](super::UpstreamSocket::join).
    ///
    /// # Errors
    /// The event port has no room.
    pub fn add(&self, socket: &impl AsFd, token: u64) -> io::Result<()> {
        self.0.add(socket, token)
    }

    pub(super) fn system_port(&self) -> Weak<ReadyPort> {
        Arc::downgrade(&self.0)
    }

    /// Replaces `tokens` by those of ready sockets. A socket stays ready until all its datagrams are received.
    ///
    /// # Errors
    /// See epoll_wait(2).
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
