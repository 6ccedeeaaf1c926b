//! Taking several datagrams at a time, which saves the call that only says that there are no more.

use std::io;
use std::os::fd::BorrowedFd;

use super::{LARGEST, Peer};

/// The most that are taken at a time.
const MOST: usize = 8;

/// What was received at a time: memory for it that is used again and again.
#[derive(Debug)]
pub struct Batch {
    bytes: Box<[u8]>,
    got: [(usize, Option<Peer>); MOST],
    count: usize,
}

/// What to ask for beside the datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// Nothing: only one can have sent them.
    Nothing,
    /// Who sent each.
    Names,
    /// Who sent each, and to which address.
    Addresses,
}

impl Batch {
    /// An empty one, with room for a few of the largest datagrams. What is never used costs no memory.
    pub fn new() -> Self {
        Batch { bytes: vec![0; MOST * LARGEST].into_boxed_slice(), got: [(0, None); MOST], count: 0 }
    }

    /// The datagrams, in the order in which they came, each with who sent it where that is known.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Option<Peer>)> {
        let each = self.bytes.chunks(LARGEST).zip(&self.got).take(self.count);
        each.map(|(bytes, (length, peer))| (bytes.get(..*length).unwrap_or(bytes), *peer))
    }

    /// Receives one. There may be more.
    pub(super) fn put(
        &mut self,
        receive: impl FnOnce(&mut [u8]) -> io::Result<(usize, Option<Peer>)>,
    ) -> io::Result<bool> {
        self.count = 0;
        self.got[0] = receive(self.bytes.get_mut(..LARGEST).unwrap_or_default())?;
        self.count = 1;
        Ok(true)
    }

    /// Receives as many as there are and as fit in. There may be more if they were as many as fit in.
    ///
    /// # Errors
    /// As recvmmsg(2): `WouldBlock` when there is none.
    pub(super) fn fill(&mut self, socket: BorrowedFd<'_>, ask: Ask) -> io::Result<bool> {
        self.count = 0;
        self.count = several::receive(socket, &mut self.bytes, &mut self.got, ask)?;
        Ok(self.count == MOST)
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether [`Batch::fill`] is there.
pub(super) const AT_ONCE: bool = cfg!(target_os = "linux");

#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "the safe forms of recvmmsg(2) allocate or tell no address")]
mod several {
    use std::io;
    use std::mem;
    use std::os::fd::{AsRawFd, BorrowedFd};
    use std::ptr;

    use super::super::pktinfo::{self, Control};
    use super::{Ask, LARGEST, MOST, Peer};

    pub(super) fn receive(
        socket: BorrowedFd<'_>,
        bytes: &mut [u8],
        got: &mut [(usize, Option<Peer>); MOST],
        ask: Ask,
    ) -> io::Result<usize> {
        // SAFETY: of all these types all zeros is a value.
        let (mut names, mut parts, mut headers) = unsafe {
            (
                mem::zeroed::<[libc::sockaddr_in6; MOST]>(),
                mem::zeroed::<[libc::iovec; MOST]>(),
                mem::zeroed::<[libc::mmsghdr; MOST]>(),
            )
        };
        let mut controls = [const { Control::new() }; MOST];
        let rooms = bytes.chunks_exact_mut(LARGEST);
        for ((((header, part), name), control), room) in
            headers.iter_mut().zip(&mut parts).zip(&mut names).zip(&mut controls).zip(rooms)
        {
            part.iov_base = room.as_mut_ptr().cast();
            part.iov_len = room.len();
            let header = &mut header.msg_hdr;
            header.msg_iov = part;
            header.msg_iovlen = 1;
            if ask != Ask::Nothing {
                header.msg_name = ptr::from_mut(name).cast();
                header.msg_namelen = mem::size_of::<libc::sockaddr_in6>() as libc::socklen_t;
            }
            if ask == Ask::Addresses {
                header.msg_control = ptr::from_mut(control).cast();
                header.msg_controllen = mem::size_of::<Control>() as _;
            }
        }
        let count = loop {
            // SAFETY: every pointer in the headers is null with a length of 0, or to something that is writable, as long
            // as told, and lives on; of headers there are as many as told.
            let count = unsafe {
                libc::recvmmsg(
                    socket.as_raw_fd(),
                    headers.as_mut_ptr(),
                    MOST as libc::c_uint,
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
        for ((got, header), name) in got.iter_mut().zip(&headers).zip(&names).take(count) {
            // SAFETY: the system has filled in the header, and the memory that it points to is alive.
            let peer =
                (ask != Ask::Nothing).then(|| unsafe { pktinfo::peer(name, &header.msg_hdr) }).flatten();
            *got = (header.msg_len as usize, peer);
        }
        Ok(count.min(MOST))
    }
}

#[cfg(not(target_os = "linux"))]
mod several {
    use std::io;
    use std::os::fd::BorrowedFd;

    use super::{Ask, MOST, Peer};

    pub(super) fn receive(
        _socket: BorrowedFd<'_>,
        _bytes: &mut [u8],
        _got: &mut [(usize, Option<Peer>); MOST],
        _ask: Ask,
    ) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
