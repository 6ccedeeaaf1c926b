//! The destination address of a datagram, from control messages of the socket.
#![allow(unsafe_code, reason = "no crate has these control messages for both Linux and Solaris")]

use std::io::{self, IoSlice};
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use socket2::{MsgHdr, SockAddr, SockRef};

use super::peer::{LocalAddress, Peer};

/// Ample room for one control message of either kind, aligned as a cmsghdr must be.
#[repr(C, align(8))]
#[derive(Debug)]
pub(super) struct ControlBuffer([u8; 64]);

impl ControlBuffer {
    pub(super) const fn new() -> Self {
        ControlBuffer([0; 64])
    }

    pub(super) fn as_ptr(&self) -> *const u8 {
        self.0.as_ptr()
    }
}

/// Makes a new socket report the destination of each datagram. Returns whether it will.
pub(super) fn enable(socket: &UdpSocket, v6: bool) -> bool {
    let (level, option) =
        if v6 { (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO) } else { (libc::IPPROTO_IP, libc::IP_PKTINFO) };
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
    let mut control = ControlBuffer::new();
    // SAFETY: all zeros is a valid value of both types.
    let (mut name, mut header) =
        unsafe { (mem::zeroed::<libc::sockaddr_in6>(), mem::zeroed::<libc::msghdr>()) };
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    header.msg_name = (&raw mut name).cast();
    header.msg_namelen = mem::size_of::<libc::sockaddr_in6>() as libc::socklen_t;
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = (&raw mut control).cast();
    header.msg_controllen = mem::size_of::<ControlBuffer>() as _;
    let count = loop {
        // SAFETY: every pointer in the header refers to writable memory of the given length that outlives the call.
        let count = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, 0) };
        if let Ok(count) = usize::try_from(count) {
            break count;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    };
    // SAFETY: the system has filled in the header, and `control`, to which it points, is alive.
    let peer = unsafe { peer(&name, &header) };
    Ok((count, peer.ok_or(io::ErrorKind::InvalidData)?))
}

/// The sender and the destination of a datagram.
///
/// # Safety
/// The header must be in the state in which recvmsg(2) returns it, and its memory must be valid.
pub(super) unsafe fn peer(name: &libc::sockaddr_in6, header: &libc::msghdr) -> Option<Peer> {
    // SAFETY: guaranteed by the caller.
    Some(Peer { client: client(name)?, local: unsafe { local(header) } })
}

fn client(name: &libc::sockaddr_in6) -> Option<SocketAddr> {
    if libc::c_int::from(name.sin6_family) == libc::AF_INET6 {
        let ip = Ipv6Addr::from(name.sin6_addr.s6_addr);
        let port = u16::from_be(name.sin6_port);
        // The flow label belongs to this one datagram, and does not identify the sender.
        return Some(std::net::SocketAddrV6::new(ip, port, 0, name.sin6_scope_id).into());
    }
    if libc::c_int::from(name.sin6_family) == libc::AF_INET {
        // SAFETY: a sockaddr_in is smaller, needs no stricter alignment, and the family says that it is one.
        let name = unsafe { ptr::read((&raw const *name).cast::<libc::sockaddr_in>()) };
        let ip = Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr));
        return Some(SocketAddr::from((ip, u16::from_be(name.sin_port))));
    }
    None
}

/// # Safety
/// The header must be in the state in which recvmsg(2) returns it, and its memory must be valid.
unsafe fn local(header: &libc::msghdr) -> Option<LocalAddress> {
    // SAFETY: the macros stay within the part that the header declares as filled; the data of a message may be
    // unaligned.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while let Some(found) = message.as_ref() {
            match (found.cmsg_level, found.cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info: libc::in_pktinfo = ptr::read_unaligned(libc::CMSG_DATA(message).cast());
                    let ip = |address: libc::in_addr| Ipv4Addr::from(u32::from_be(address.s_addr));
                    return LocalAddress::of_ipv4(ip(info.ipi_addr), ip(info.ipi_spec_dst));
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info: libc::in6_pktinfo = ptr::read_unaligned(libc::CMSG_DATA(message).cast());
                    let ip = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                    return LocalAddress::of_ipv6(ip, info.ipi6_ifindex as u32);
                }
                _ => message = libc::CMSG_NXTHDR(header, message),
            }
        }
    }
    None
}

/// Sends from the address that the client sent to; if the system refuses that, from the alternative; if it refuses
/// both, from the address of the route.
pub(super) fn send(
    socket: BorrowedFd<'_>,
    datagram: &[u8],
    to: SocketAddr,
    from: LocalAddress,
) -> io::Result<()> {
    let mut result = send_from(socket, datagram, to, Some((from.ip, from.interface)));
    if result.as_ref().is_err_and(is_no_source)
        && let Some(ip) = from.otherwise
    {
        result = send_from(socket, datagram, to, Some((ip, 0)));
    }
    if result.as_ref().is_err_and(is_no_source) {
        result = send_from(socket, datagram, to, None);
    }
    result
}

/// Whether the source address may be the reason why a datagram was not sent, as far as errors tell: Linux returns
/// EINVAL for a multicast address and ENETUNREACH for other foreign addresses; Solaris returns EADDRNOTAVAIL.
pub(super) fn is_no_source(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::InvalidInput | io::ErrorKind::NetworkUnreachable
    )
}

fn send_from(
    socket: BorrowedFd<'_>,
    datagram: &[u8],
    to: SocketAddr,
    from: Option<(IpAddr, u32)>,
) -> io::Result<()> {
    let (to, parts) = (SockAddr::from(to), [IoSlice::new(datagram)]);
    let mut message = MsgHdr::new().with_addr(&to).with_buffers(&parts);
    let control = from.map(|(ip, interface)| source(ip, interface));
    if let Some((control, used)) = &control {
        message = message.with_control(&control.0[..*used]);
    }
    loop {
        match SockRef::from(&socket).sendmsg(&message, 0) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result.map(|_| ()),
        }
    }
}

/// The control message that has a datagram leave from `ip`, which means something on `interface` alone where that is not 0;
/// and its length.
pub(super) fn source(ip: IpAddr, interface: u32) -> (ControlBuffer, usize) {
    let mut control = ControlBuffer::new();
    let used = match ip {
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
            info.ipi6_ifindex = interface as _;
            put(&mut control, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info)
        }
    };
    (control, used)
}

/// Stores `info` as the only message in `control`; returns its length.
fn put<T>(control: &mut ControlBuffer, level: libc::c_int, kind: libc::c_int, info: T) -> usize {
    const { assert!(mem::size_of::<T>() <= 24, "fits, with a header of at most 16 and its padding") };
    let size = mem::size_of::<T>() as libc::c_uint;
    // SAFETY: CMSG_LEN and CMSG_SPACE only compute sizes. The header of a message is at the beginning, where `control`
    // is aligned for it, followed by its data; both are within `control`, as asserted.
    unsafe {
        let mut header: libc::msghdr = mem::zeroed();
        header.msg_control = control.0.as_mut_ptr().cast();
        header.msg_controllen = mem::size_of::<ControlBuffer>() as _;
        let message = libc::CMSG_FIRSTHDR(&raw const header);
        (*message).cmsg_level = level;
        (*message).cmsg_type = kind;
        (*message).cmsg_len = libc::CMSG_LEN(size) as _;
        ptr::write_unaligned(libc::CMSG_DATA(message).cast(), info);
        libc::CMSG_SPACE(size) as usize
    }
}
