//! The UDP socket that clients send to: it tells which of pen's addresses each datagram was for, and a reply leaves from
//! that one, also where the socket is bound to any address.
//!
//! Linux, illumos and Solaris tell it in control messages (Linux: ip(7), ipv6(7); Solaris: ip(7P), ip6(7P): IP_PKTINFO,
//! IPV6_PKTINFO, RFC 3542 6.1). Elsewhere a socket bound to any address answers from the one that the route to the client
//! has, which is another one only on a machine of several addresses; there pen is to listen on an address of its own.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use socket2::SockRef;
use tokio::io::Interest;
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};

use super::{listen, platform};

/// The largest datagram that there can be over IPv6 (RFC 768, 8200); over IPv4 65,507.
pub const LARGEST: usize = 65_527;

/// What the socket holds while pen is busy elsewhere; as far as the system lets it.
const RECEIVE_BUFFER: usize = 4 << 20;

/// Who sent a datagram, and which of pen's addresses it was sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Peer {
    /// The client's address and port.
    pub client: SocketAddr,
    local: Option<Local>,
}

/// One of pen's addresses; the interface is told of one that means nothing without (RFC 4007 4), else 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Local {
    ip: IpAddr,
    interface: u32,
}

/// The socket.
#[derive(Debug)]
pub struct Datagrams {
    socket: UdpSocket,
    /// The system tells the address; it need not where there is only one.
    tells: bool,
}

impl Datagrams {
    /// A socket that does not block, bound to `address`.
    ///
    /// # Errors
    /// As [`listen::bind_udp`].
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = listen::bind_udp(address)?;
        // A system that gives less says so, and gives what it can.
        _ = SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER);
        make_room_to_send(&socket);
        let tells =
            address.ip().is_unspecified() && !platform::plain() && pktinfo::ask(&socket, address.is_ipv6());
        Ok(Datagrams { socket, tells })
    }

    /// Where it is bound.
    ///
    /// # Errors
    /// As getsockname(2).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Takes one datagram out of the queue. What does not fit into `buffer` is lost: it is to have [`LARGEST`] bytes.
    ///
    /// # Errors
    /// `WouldBlock` when there is none; else as recvmsg(2).
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Peer)> {
        if self.tells {
            return pktinfo::receive(self.socket.as_fd(), buffer);
        }
        let (count, client) = self.socket.recv_from(buffer)?;
        Ok((count, Peer { client, local: None }))
    }

    /// Sends one datagram to a client, from the address that it sent to.
    ///
    /// # Errors
    /// `WouldBlock` when the system's buffer is full; else as sendmsg(2).
    pub fn send(&self, datagram: &[u8], to: &Peer) -> io::Result<()> {
        match to.local {
            Some(local) => pktinfo::send(self.socket.as_fd(), datagram, to.client, local),
            None => self.socket.send_to(datagram, to.client).map(|_| ()),
        }
    }
}

impl AsFd for Datagrams {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Datagrams {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// A socket connected to a server, whose answers and errors can be waited for.
#[derive(Debug)]
pub struct Upstream(AsyncFd<UdpSocket>);

impl Upstream {
    /// Watches a connected socket that does not block. To be called within a runtime.
    ///
    /// # Errors
    /// No room in the event port.
    #[allow(unsafe_code, reason = "tokio asks for a promise that no safe type of std makes")]
    pub fn watch(socket: UdpSocket) -> io::Result<Self> {
        make_room_to_send(&socket);
        // Not for writing: what the buffer does not take is dropped, and each datagram that has left would wake us.
        let interest = Interest::READABLE | Interest::ERROR;
        // SAFETY: the AsyncFd owns the socket, which keeps its descriptor, and nobody gets a `&mut` to put in another.
        Ok(Upstream(unsafe { AsyncFd::register_with_interest(socket, interest) }?))
    }

    /// Waits until there may be an answer or an error, such as that an ICMP message tells (RFC 1122 4.1.3.3).
    ///
    /// # Errors
    /// The runtime ends.
    pub async fn ready(&self) -> io::Result<AsyncFdReadyGuard<'_, UdpSocket>> {
        self.0.ready(Interest::READABLE | Interest::ERROR).await
    }

    /// Takes one answer, as [`Datagrams::receive`].
    ///
    /// # Errors
    /// `WouldBlock` when there is none; `ConnectionRefused` when nobody listens there; else as recv(2).
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.get_ref().recv(buffer)
    }

    /// Sends one datagram. An error may be that of an earlier one; this one is then not sent.
    ///
    /// # Errors
    /// `WouldBlock` when the system's buffer is full; else as [`Upstream::receive`].
    pub fn send(&self, datagram: &[u8]) -> io::Result<()> {
        self.0.get_ref().send(datagram).map(|_| ())
    }
}

impl AsRawFd for Upstream {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Lets a socket send the largest datagram: some systems have a default that is smaller (Solaris: udp_xmit_hiwat).
fn make_room_to_send(socket: &impl AsFd) {
    let socket = SockRef::from(socket);
    if socket.send_buffer_size().is_ok_and(|size| size < 2 * LARGEST) {
        // Smaller ones pass all the same.
        _ = socket.set_send_buffer_size(2 * LARGEST);
    }
}

#[cfg(any(target_os = "linux", target_os = "solaris", target_os = "illumos"))]
#[allow(unsafe_code, reason = "no crate has these control messages for both Linux and Solaris")]
mod pktinfo {
    use std::io::{self, IoSlice};
    use std::mem::{self, MaybeUninit};
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
    use std::os::fd::{AsRawFd, BorrowedFd};
    use std::ptr;

    use socket2::{MsgHdr, SockAddr, SockRef};

    use super::{Local, Peer};

    /// Room for one control message of either kind, and to spare; aligned as a cmsghdr is to be.
    #[repr(C, align(8))]
    struct Control([u8; 64]);

    /// Asks to be told of addresses, on a socket that has received nothing yet.
    pub(super) fn ask(socket: &UdpSocket, v6: bool) -> bool {
        let (level, option) = if v6 {
            (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO)
        } else {
            (libc::IPPROTO_IP, libc::IP_PKTINFO)
        };
        let on: libc::c_int = 1;
        // SAFETY: the option takes one int, which `on` is, and keeps no pointer to it.
        let result = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                level,
                option,
                (&raw const on).cast(),
                mem::size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        result == 0
    }

    /// recvmsg(2), with the address that the datagram was sent to.
    pub(super) fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, Peer)> {
        let mut control = MaybeUninit::<Control>::zeroed();
        // SAFETY: of both types all zeros is a value.
        let (mut name, mut header) =
            unsafe { (mem::zeroed::<libc::sockaddr_in6>(), mem::zeroed::<libc::msghdr>()) };
        let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        header.msg_name = (&raw mut name).cast();
        header.msg_namelen = mem::size_of::<libc::sockaddr_in6>() as libc::socklen_t;
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = mem::size_of::<Control>() as _;
        let count = loop {
            // SAFETY: every pointer in the header is to something that is writable, as long as told, and lives on.
            let count = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, 0) };
            if let Ok(count) = usize::try_from(count) {
                break count;
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        };
        let client = client(&name).ok_or(io::ErrorKind::InvalidData)?;
        // SAFETY: the system has filled in the header, and `control`, to which it points, is alive.
        let local = unsafe { local(&header) };
        Ok((count, Peer { client, local }))
    }

    fn client(name: &libc::sockaddr_in6) -> Option<SocketAddr> {
        if libc::c_int::from(name.sin6_family) == libc::AF_INET6 {
            let ip = Ipv6Addr::from(name.sin6_addr.s6_addr);
            let port = u16::from_be(name.sin6_port);
            // Its flow label is of that one datagram, and no part of who sent it.
            return Some(std::net::SocketAddrV6::new(ip, port, 0, name.sin6_scope_id).into());
        }
        if libc::c_int::from(name.sin6_family) == libc::AF_INET {
            // SAFETY: a sockaddr_in is smaller, asks for no stricter alignment, and of its family it is one.
            let name = unsafe { ptr::read((&raw const *name).cast::<libc::sockaddr_in>()) };
            let ip = Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr));
            return Some(SocketAddr::from((ip, u16::from_be(name.sin_port))));
        }
        None
    }

    /// # Safety
    /// The header must be as recvmsg(2) leaves it, with the memory that it points to.
    unsafe fn local(header: &libc::msghdr) -> Option<Local> {
        // SAFETY: the macros walk within what the header says is filled; the data of a message may lie unaligned.
        unsafe {
            let mut message = libc::CMSG_FIRSTHDR(header);
            while let Some(found) = message.as_ref() {
                match (found.cmsg_level, found.cmsg_type) {
                    (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                        let info: libc::in_pktinfo = ptr::read_unaligned(libc::CMSG_DATA(message).cast());
                        // Not ipi_addr, which may be a broadcast address.
                        let ip = Ipv4Addr::from(u32::from_be(info.ipi_spec_dst.s_addr));
                        return usable(ip.into(), 0);
                    }
                    (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                        let info: libc::in6_pktinfo = ptr::read_unaligned(libc::CMSG_DATA(message).cast());
                        let ip = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                        let interface = if ip.is_unicast_link_local() { info.ipi6_ifindex } else { 0 };
                        return usable(ip.into(), interface as u32);
                    }
                    _ => message = libc::CMSG_NXTHDR(header, message),
                }
            }
        }
        None
    }

    /// Nobody can send from a group's address: there the route decides.
    fn usable(ip: IpAddr, interface: u32) -> Option<Local> {
        (!ip.is_multicast() && !ip.is_unspecified()).then_some(Local { ip, interface })
    }

    /// sendmsg(2), from a given address.
    pub(super) fn send(
        socket: BorrowedFd<'_>,
        datagram: &[u8],
        to: SocketAddr,
        from: Local,
    ) -> io::Result<()> {
        let mut control = Control([0; 64]);
        let used = match from.ip {
            IpAddr::V4(ip) => {
                // SAFETY: all zeros is a value of it.
                let mut info: libc::in_pktinfo = unsafe { mem::zeroed() };
                info.ipi_spec_dst.s_addr = u32::from(ip).to_be();
                put(&mut control, libc::IPPROTO_IP, libc::IP_PKTINFO, info)
            }
            IpAddr::V6(ip) => {
                // SAFETY: all zeros is a value of it.
                let mut info: libc::in6_pktinfo = unsafe { mem::zeroed() };
                info.ipi6_addr.s6_addr = ip.octets();
                info.ipi6_ifindex = from.interface as _;
                put(&mut control, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info)
            }
        };
        let (to, parts) = (SockAddr::from(to), [IoSlice::new(datagram)]);
        let message = MsgHdr::new().with_addr(&to).with_buffers(&parts).with_control(&control.0[..used]);
        loop {
            match SockRef::from(&socket).sendmsg(&message, 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result.map(|_| ()),
            }
        }
    }

    /// Makes `info` the one message in `control`; returns its length.
    fn put<T>(control: &mut Control, level: libc::c_int, kind: libc::c_int, info: T) -> usize {
        const { assert!(mem::size_of::<T>() <= 24, "fits, with a header of at most 16 and its padding") };
        let size = mem::size_of::<T>() as libc::c_uint;
        // SAFETY: CMSG_LEN and CMSG_SPACE only count. The header of a message is at the beginning, where `control` is aligned
        // for it, and its data behind; both lie within, as asserted.
        unsafe {
            let mut header: libc::msghdr = mem::zeroed();
            header.msg_control = control.0.as_mut_ptr().cast();
            header.msg_controllen = mem::size_of::<Control>() as _;
            let message = libc::CMSG_FIRSTHDR(&raw const header);
            (*message).cmsg_level = level;
            (*message).cmsg_type = kind;
            (*message).cmsg_len = libc::CMSG_LEN(size) as _;
            ptr::write_unaligned(libc::CMSG_DATA(message).cast(), info);
            libc::CMSG_SPACE(size) as usize
        }
    }
}

/// Of other systems pen knows no way to ask.
#[cfg(not(any(target_os = "linux", target_os = "solaris", target_os = "illumos")))]
mod pktinfo {
    use std::io;
    use std::net::{SocketAddr, UdpSocket};
    use std::os::fd::BorrowedFd;

    use super::{Local, Peer};

    pub(super) fn ask(_socket: &UdpSocket, _v6: bool) -> bool {
        false
    }

    pub(super) fn receive(_socket: BorrowedFd<'_>, _buffer: &mut [u8]) -> io::Result<(usize, Peer)> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn send(
        _socket: BorrowedFd<'_>,
        _datagram: &[u8],
        _to: SocketAddr,
        _from: Local,
    ) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A socket on `bound`, a client that asks it at `to` and its answer, as the connected client gets it.
    fn answers(bound: &str, from: &str, to: &str, datagram: &[u8]) -> Option<bool> {
        let pen = match Datagrams::bind(bound.parse().expect("address")) {
            Ok(pen) => pen,
            Err(_) if bound.contains('[') => return None, // no IPv6 here
            Err(error) => panic!("{error}"),
        };
        let port = pen.local_addr().expect("bound").port();
        let client = UdpSocket::bind((from, 0)).expect("a free port");
        client.connect((to, port)).expect("a destination");
        client.send(datagram).expect("sent");
        pen.socket.set_nonblocking(false).expect("for this test");
        let mut buffer = vec![0; LARGEST];
        let (count, peer) = pen.receive(&mut buffer).expect("received");
        assert_eq!(&buffer[..count], datagram);
        assert_eq!(peer.client.port(), client.local_addr().expect("bound").port());
        assert_eq!(peer.client.ip().to_canonical(), from.parse::<IpAddr>().expect("address"));
        pen.send(datagram, &peer).expect("answered");
        // Whatever comes from elsewhere the client's socket does not take.
        client.set_nonblocking(true).expect("loopback delivers at once");
        let mut answer = vec![0; LARGEST];
        let took = client.recv(&mut answer);
        Some(took.is_ok_and(|count| answer[..count] == *datagram))
    }

    #[test]
    fn a_reply_leaves_from_the_address_that_was_asked() {
        if cfg!(not(target_os = "linux")) || platform::plain() {
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
        let datagram = vec![7; LARGEST];
        assert!(answers("[::]:0", "::1", "::1", &datagram).is_none_or(|took| took));
    }
}
