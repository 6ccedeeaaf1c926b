//! The UDP socket of a flow, connected to its server.

use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use rustix::net::{RecvFlags, SendFlags};
use tokio::io::Interest;

use crate::sys::platform;
use crate::sys::watch::Watch;

use super::batch::Batch;
use super::buffers;
#[cfg(target_os = "linux")]
use super::recvmmsg::{self, Metadata};
#[cfg(target_os = "linux")]
use crate::sys::emulation;

/// A socket connected to a server; tasks can wait for its answers and errors.
#[derive(Debug)]
pub struct UpstreamSocket(Watch);

/// Not for writing: a datagram for which the buffer has no room is dropped, and every sent datagram would wake the
/// task.
const INTEREST: Interest = Interest::READABLE.add(Interest::ERROR);

impl UpstreamSocket {
    /// Watches a connected, non-blocking socket. Call it within a runtime.
    ///
    /// # Errors
    /// The event port has no room.
    pub fn watch(socket: UdpSocket) -> io::Result<Self> {
        buffers::make_room_to_send(&socket);
        platform::report_icmp_errors(&socket);
        Watch::new(socket.into(), INTEREST).map(UpstreamSocket)
    }

    /// Waits until there may be an answer, or an error such as one that an ICMP message reports (RFC 1122 4.1.3.3).
    ///
    /// # Errors
    /// The runtime is ending.
    pub async fn ready(&self) -> io::Result<()> {
        self.0.ready(INTEREST).await
    }

    /// Receives answers, like [`DatagramSocket::receive`](super::DatagramSocket::receive); they come from the server
    /// and have no [`Peer`](super::Peer).
    ///
    /// # Errors
    /// `WouldBlock` when there is none; `ConnectionRefused` when nobody listens there; `HostUnreachable` and similar
    /// errors where the system reports them; otherwise see recv(2).
    pub fn receive(&self, batch: &mut Batch) -> io::Result<bool> {
        let result = self.0.try_read_or_error(|| {
            #[cfg(target_os = "linux")]
            if !emulation::is_portable() {
                let socket = self.0.as_fd();
                return batch.receive_many(|bytes, received| {
                    recvmmsg::receive(socket, bytes, received, Metadata::None)
                });
            }
            batch.receive_one(|buffer| {
                let (count, _) = rustix::net::recv(&self.0, buffer, RecvFlags::empty())?;
                Ok((count, None))
            })
        });
        let more = self.clear_if_failed(result)?;
        if !more {
            // Fewer datagrams than requested: the queue is empty, and no further call is needed to find out.
            _ = self.0.try_read_or_error(|| Err::<(), _>(io::ErrorKind::WouldBlock.into()));
        }
        Ok(more)
    }

    /// Sends one datagram. An error may belong to an earlier one; this one is not sent then.
    ///
    /// # Errors
    /// `WouldBlock` when the system's buffer is full; otherwise see [`UpstreamSocket::receive`].
    pub fn send(&self, datagram: &[u8]) -> io::Result<()> {
        let result = rustix::net::send(&self.0, datagram, SendFlags::empty());
        self.clear_if_failed(result.map(|_| ()).map_err(io::Error::from))
    }

    /// The result of a call; after an error, clears the errors that are queued in the system.
    fn clear_if_failed<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if result.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock) {
            platform::clear_icmp_errors(&self.0);
        }
        result
    }
}

impl AsRawFd for UpstreamSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_that_is_not_there_is_told() {
        // It accepts datagrams only from its own peer, which is itself.
        let deaf = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let address = deaf.local_addr().expect("bound");
        deaf.connect(address).expect("a destination");
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        socket.connect(address).expect("a destination");
        socket.set_nonblocking(true).expect("non-blocking");
        let upstream = UpstreamSocket::watch(socket).expect("room in the event port");
        upstream.send(b"anybody?").expect("sent");
        let mut batch = Batch::new();
        upstream.ready().await.expect("an event");
        let error = upstream.receive(&mut batch).expect_err("nobody");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(upstream.receive(&mut batch).expect_err("told once").kind(), io::ErrorKind::WouldBlock);
        upstream.send(b"anybody?").expect("sent");
        upstream.ready().await.expect("an event");
        let error = upstream.send(b"this one is not sent").expect_err("nobody");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
