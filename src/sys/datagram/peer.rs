//! Whom datagrams are exchanged with.

use std::net::{IpAddr, SocketAddr};

/// Who sent a datagram, and which of pen's addresses it was sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Peer {
    /// The client's address and port.
    pub client: SocketAddr,
    pub(super) local: Option<LocalAddress>,
}

/// One of pen's addresses; the interface is told of one that means nothing without (RFC 4007 4), else 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct LocalAddress {
    pub(super) ip: IpAddr,
    pub(super) interface: u32,
}
