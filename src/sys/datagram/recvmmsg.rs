//! recvmmsg(2) on Linux.
#![allow(unsafe_code, reason = "the safe forms of recvmmsg(2) allocate or give no address")]

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use super::pktinfo::{self, ControlBuffer};
use super::received::{BATCH_MAX, DATAGRAM_MAX, ReceivedDatagram};

/// Receives datagrams into slices of `bytes`, [`DATAGRAM_MAX`] bytes each, and returns their number. With the address that each
/// was sent to, if the socket `tells` it.
///
/// # Errors
/// See recvmmsg(2): `WouldBlock` when none is queued.
pub(super) fn receive(
    socket: BorrowedFd<'_>,
    bytes: &mut [u8],
    received: &mut [ReceivedDatagram; BATCH_MAX],
    tells: bool,
) -> io::Result<usize> {
    // SAFETY: all zeros is a valid value of all these types.
    let (mut names, mut parts, mut headers) = unsafe {
        (
            mem::zeroed::<[libc::sockaddr_in6; BATCH_MAX]>(),
            mem::zeroed::<[libc::iovec; BATCH_MAX]>(),
            mem::zeroed::<[libc::mmsghdr; BATCH_MAX]>(),
        )
    };
    let mut controls = [const { ControlBuffer::new() }; BATCH_MAX];
    let rooms = bytes.chunks_exact_mut(DATAGRAM_MAX);
    for ((((header, part), name), control), room) in
        headers.iter_mut().zip(&mut parts).zip(&mut names).zip(&mut controls).zip(rooms)
    {
        part.iov_base = room.as_mut_ptr().cast();
        part.iov_len = room.len();
        let header = &mut header.msg_hdr;
        header.msg_iov = part;
        header.msg_iovlen = 1;
        header.msg_name = ptr::from_mut(name).cast();
        header.msg_namelen = mem::size_of::<libc::sockaddr_in6>() as libc::socklen_t;
        if tells {
            header.msg_control = ptr::from_mut(control).cast();
            header.msg_controllen = mem::size_of::<ControlBuffer>() as _;
        }
    }
    let count = loop {
        // SAFETY: every pointer in the headers is null with length 0, or refers to writable memory of the given length
        // that outlives the call; the number of headers is the one given.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                BATCH_MAX as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        };
        if let Ok(count) = usize::try_from(count) {
            break count;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    };
    for ((received, header), name) in received.iter_mut().zip(&headers).zip(&names).take(count) {
        // SAFETY: the system has filled in the header, and the memory that it points to is alive.
        let peer = unsafe { pktinfo::peer(name, &header.msg_hdr) };
        *received = (header.msg_len as usize, peer);
    }
    Ok(count.min(BATCH_MAX))
}
