//! The interface of `pktinfo` on systems that do not report the destination of a datagram.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::BorrowedFd;

use super::peer::{LocalAddress, Peer};

pub(super) fn enable(_socket: &UdpSocket, _v6: bool) -> bool {
    false
}

pub(super) fn receive(_socket: BorrowedFd<'_>, _buffer: &mut [u8]) -> io::Result<(usize, Peer)> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(super) fn send(
    _socket: BorrowedFd<'_>,
    _datagram: &[u8],
    _to: SocketAddr,
    _from: LocalAddress,
) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
