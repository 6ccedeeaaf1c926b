//! The interface of `pktinfo` on systems that do not report the destination of a datagram.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::BorrowedFd;

use super::peer::{LocalAddress, Peer};

#[derive(Debug)]
pub(super) struct ControlBuffer(());

impl ControlBuffer {
    pub(super) fn as_ptr(&self) -> *const u8 {
        std::ptr::null()
    }
}

pub(super) fn source(_ip: IpAddr, _interface: u32) -> (ControlBuffer, usize) {
    (ControlBuffer(()), 0)
}

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

pub(super) fn is_no_source(_error: &io::Error) -> bool {
    false
}
