//! The UDP socket that clients send to. It provides the destination address of each datagram, so that a reply leaves
//! from that address even if the socket is bound to the wildcard address.
//!
//! Linux, illumos and Solaris provide the address in control messages (Linux: ip(7), ipv6(7); Solaris: ip(7P), ip6(7P):
//! IP_PKTINFO, IPV6_PKTINFO, RFC 3542 6.1). On other systems a socket bound to the wildcard address replies from the
//! source address of the route to the client, which differs only on a machine with several addresses; there pen should
//! listen on a specific address.

mod batch;
mod buffers;
mod destination;
mod flow_port;
mod peer;
#[cfg(any(target_os = "linux", target_os = "solaris", target_os = "illumos"))]
mod pktinfo;
mod received;
#[cfg(target_os = "linux")]
mod recvmmsg;
#[cfg(not(any(target_os = "linux", target_os = "solaris", target_os = "illumos")))]
mod unsupported;
mod upstream;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use super::{emulation, listen, platform};
#[cfg(not(any(target_os = "linux", target_os = "solaris", target_os = "illumos")))]
use unsupported as pktinfo;

pub use batch::Batch;
pub use buffers::enlarge_receive_buffer;
pub use destination::Destination;
pub use flow_port::FlowPort;
pub use peer::Peer;
pub use received::DATAGRAM_MAX;
pub use upstream::UpstreamSocket;

/// The socket.
#[derive(Debug)]
pub struct DatagramSocket {
    socket: UdpSocket,
    /// Whether the system provides destination addresses; not needed if the socket is bound to a specific one.
    tells: bool,
    /// The system's count of dropped datagrams at the last call.
    overflowed: AtomicU32,
}

impl DatagramSocket {
    /// A non-blocking socket, bound to `address`.
    ///
    /// # Errors
    /// See [`listen::bind_udp`].
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = listen::bind_udp(address)?;
        buffers::enlarge_receive_buffer(&socket, buffers::RECEIVE_BUFFER);
        buffers::make_room_to_send(&socket);
        let tells = address.ip().is_unspecified()
            && !emulation::is_portable()
            && pktinfo::enable(&socket, address.is_ipv6());
        Ok(DatagramSocket { socket, tells, overflowed: AtomicU32::new(0) })
    }

    /// The address that it is bound to.
    ///
    /// # Errors
    /// See getsockname(2).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The address that a datagram of `peer` was sent to, as far as the system tells.
    ///
    /// # Errors
    /// As getsockname(2).
    pub fn destination(&self, peer: &Peer) -> io::Result<SocketAddr> {
        let bound = self.local_addr()?;
        Ok(peer.local.map_or(bound, |local| SocketAddr::new(local.ip, bound.port())))
    }

    /// Receives one or more datagrams. False when the queue is empty afterwards.
    ///
    /// # Errors
    /// `WouldBlock` when there is none; otherwise see recvmsg(2).
    pub fn receive(&self, batch: &mut Batch) -> io::Result<bool> {
        #[cfg(target_os = "linux")]
        if !emulation::is_portable() {
            let (socket, tells) = (self.socket.as_fd(), self.tells);
            return batch.receive_many(|bytes, received| recvmmsg::receive(socket, bytes, received, tells));
        }
        batch.receive_one(|buffer| {
            if self.tells {
                let (count, peer) = pktinfo::receive(self.socket.as_fd(), buffer)?;
                return Ok((count, Some(peer)));
            }
            let (count, client) = self.socket.recv_from(buffer)?;
            Ok((count, Some(Peer { client, local: None })))
        })?;
        // There may be more.
        Ok(true)
    }

    /// How long the last received datagram had waited; zero if the system does not report it.
    pub fn waited(&self) -> Duration {
        platform::waited(self.socket.as_fd()).unwrap_or_default()
    }

    /// The number of datagrams that the system has dropped since the last call because the receive buffer was full; 0
    /// if it does not report it.
    pub fn newly_overflowed(&self) -> u32 {
        let Some(count) = platform::overflowed(self.socket.as_fd()) else { return 0 };
        count.wrapping_sub(self.overflowed.swap(count, Relaxed))
    }

    /// Sends one datagram to a client, from the address that the client sent to.
    ///
    /// # Errors
    /// `WouldBlock` when the system's buffer is full; otherwise see sendmsg(2).
    pub fn send(&self, datagram: &[u8], to: &Peer) -> io::Result<()> {
        match to.local {
            Some(local) => pktinfo::send(self.socket.as_fd(), datagram, to.client, local),
            None => self.socket.send_to(datagram, to.client).map(|_| ()),
        }
    }

    /// Whether [`DatagramSocket::send`] may succeed where one to its [`Destination`] had this error: it tries other addresses to
    /// send from.
    pub fn may_send_otherwise(&self, error: &io::Error, to: &Peer) -> bool {
        to.local.is_some() && pktinfo::is_no_source(error)
    }
}

impl AsFd for DatagramSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for DatagramSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    /// Whether the answer of a socket on `bound` reaches the connected socket of a client that sent to `to`.
    fn answers(bound: &str, from: &str, to: &str, datagram: &[u8]) -> Option<bool> {
        let pen = match DatagramSocket::bind(bound.parse().expect("address")) {
            Ok(pen) => pen,
            Err(_) if bound.contains('[') => return None, // no IPv6 here
            Err(error) => panic!("{error}"),
        };
        let port = pen.local_addr().expect("bound").port();
        let client = UdpSocket::bind((from, 0)).expect("a free port");
        client.connect((to, port)).expect("a destination");
        client.send(datagram).expect("sent");
        let mut batch = Batch::new();
        while pen.receive(&mut batch).is_err() {
            std::thread::yield_now(); // Delivery over loopback takes negligible time.
        }
        let (got, peer) = batch.iter().next().expect("received");
        let peer = peer.expect("a name");
        assert_eq!(got, datagram);
        assert_eq!(peer.client.port(), client.local_addr().expect("bound").port());
        assert_eq!(peer.client.ip().to_canonical(), from.parse::<IpAddr>().expect("address"));
        pen.send(datagram, &peer).expect("answered");
        // The client's socket receives nothing from other addresses.
        client.set_nonblocking(true).expect("loopback delivers at once");
        let mut answer = vec![0; DATAGRAM_MAX];
        let took = client.recv(&mut answer);
        Some(took.is_ok_and(|count| answer[..count] == *datagram))
    }

    #[test]
    fn a_reply_leaves_from_the_address_that_was_asked() {
        if cfg!(not(target_os = "linux")) || emulation::is_portable() {
            return;
        }
        assert_eq!(answers("0.0.0.0:0", "127.0.0.1", "127.0.0.2", b"question"), Some(true));
        assert_eq!(answers("127.0.0.3:0", "127.0.0.1", "127.0.0.3", b"question"), Some(true));
        for (from, to) in [("127.0.0.1", "127.0.0.9"), ("::1", "::1")] {
            assert!(answers("[::]:0", from, to, b"question").is_none_or(|took| took), "{to}");
        }
    }

    #[test]
    fn sizes_are_kept_from_none_to_the_largest() {
        for size in [0, 1, 65_507] {
            let datagram = vec![7; size];
            assert_eq!(answers("127.0.0.1:0", "127.0.0.1", "127.0.0.1", &datagram), Some(true), "{size}");
            assert_eq!(answers("0.0.0.0:0", "127.0.0.1", "127.0.0.1", &datagram), Some(true), "{size}");
        }
        let datagram = vec![7; DATAGRAM_MAX];
        assert!(answers("[::]:0", "::1", "::1", &datagram).is_none_or(|took| took));
    }

    #[test]
    fn what_the_buffer_has_no_room_for_is_counted_once() {
        if cfg!(not(target_os = "linux")) || emulation::is_portable() {
            return;
        }
        let pen = DatagramSocket::bind("127.0.0.1:0".parse().expect("address")).expect("a free port");
        socket2::SockRef::from(&pen.socket).set_recv_buffer_size(4096).expect("a small buffer");
        let client = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let to = pen.local_addr().expect("bound");
        let mut batch = Batch::new();
        for _ in 0..2 {
            const SENT: u32 = 100;
            (0..SENT).for_each(|_| _ = client.send_to(&[7; 1000], to).expect("sent"));
            let mut received = 0;
            while pen.receive(&mut batch).is_ok() {
                received += batch.iter().count() as u32;
            }
            assert!(received > 0 && received < SENT, "{received}");
            assert_eq!(pen.newly_overflowed(), SENT - received);
            assert_eq!(pen.newly_overflowed(), 0);
        }
    }

    #[test]
    fn many_are_taken_in_order_and_their_end_is_told() {
        let pen = DatagramSocket::bind("127.0.0.1:0".parse().expect("address")).expect("a free port");
        let client = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let mut batch = Batch::new();
        assert_eq!(pen.receive(&mut batch).expect_err("nothing").kind(), io::ErrorKind::WouldBlock);
        assert_eq!(batch.iter().count(), 0);
        for sent in [1, 7, 8, 9, 30] {
            let datagrams: Vec<Vec<u8>> = (0..sent).map(|n| vec![n; usize::from(n) * 3]).collect();
            let to = pen.local_addr().expect("bound");
            datagrams.iter().for_each(|datagram| _ = client.send_to(datagram, to).expect("sent"));
            let mut got = Vec::new();
            // Loopback has delivered all of them; after the end there are no more.
            while pen.receive(&mut batch).is_ok() {
                assert!(batch.iter().all(|(_, peer)| {
                    peer.is_some_and(|p| Ok(p.client) == client.local_addr().map_err(drop))
                }));
                got.extend(batch.iter().map(|(datagram, _)| datagram.to_vec()));
            }
            assert_eq!(got, datagrams);
        }
    }
}
