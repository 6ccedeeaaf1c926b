//! What only Linux has. `portable.rs` has the same interface for every other system.

use std::io;
use std::mem;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{IpBindAddressNoPort, Ipv4RecvErr, Ipv6RecvErr};
use rustix::net::{RecvFlags, SendFlags};
use rustix::pipe::{
    PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with, splice as splice_some,
};
use socket2::{SockFilter, SockRef};

use crate::sys::emulation::is_portable;

/// The smallest pipe that is faster than copying.
const SMALLEST: usize = 64 << 10;

/// Lets `socket` bind to addresses of others, those of `family`'s kind (ip(7), IP_TRANSPARENT).
pub(in crate::sys) fn transparent(socket: &impl AsFd, family: IpAddr) -> io::Result<()> {
    if is_portable() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let socket = SockRef::from(socket);
    match family {
        IpAddr::V4(_) => socket.set_ip_transparent_v4(true),
        IpAddr::V6(_) => socket.set_ip_transparent_v6(true),
    }
}

/// Makes the next bind to port 0 take an address only: the port is chosen at connect, when the whole of both ends is known
/// (ip(7), IP_BIND_ADDRESS_NO_PORT).
pub(in crate::sys) fn leave_port_to_connect(socket: &impl AsFd) {
    if !is_portable() {
        // A kernel without it (before 4.2) chooses the port at once.
        _ = setsockopt(socket, IpBindAddressNoPort, &true);
    }
}

/// A filter for a TCP socket (see filter.rst of the kernel) that drops a SYN without ACK and passes everything else: it sees
/// segments from the TCP header on, whose flags are in byte 13.
const NO_SYN: [SockFilter; 5] = {
    const SYN: u32 = 0x02;
    const ACK: u32 = 0x10;
    const fn step(code: u32, else_skip: u8, operand: u32) -> SockFilter {
        SockFilter::new(code as u16, 0, else_skip, operand)
    }
    [
        step(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0, 13),
        step(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0, SYN | ACK),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, SYN),
        step(libc::BPF_RET | libc::BPF_K, 0, 0),
        step(libc::BPF_RET | libc::BPF_K, 0, u32::MAX),
    ]
};

/// Has a listening TCP socket drop the SYNs of new connections, or take them again. Handshakes that have begun are completed
/// in either case. False when the system refuses.
pub(in crate::sys) fn set_syn_filter(listener: &impl AsFd, on: bool) -> bool {
    if is_portable() {
        return false;
    }
    let socket = SockRef::from(listener);
    let done = if on { socket.attach_filter(&NO_SYN) } else { socket.detach_filter() };
    done.is_ok()
}

/// Allows or forbids core files of this process, and that others of its user look into it (prctl(2), PR_SET_DUMPABLE). A
/// change of user forbids both.
pub(in crate::sys) fn set_dumpable(on: bool) {
    _ = nix::sys::prctl::set_dumpable(on);
}

/// Bytes that the peer of `socket` has not acknowledged.
#[allow(unsafe_code, reason = "no crate has this ioctl")]
pub(in crate::sys) fn unacknowledged(socket: BorrowedFd<'_>) -> Option<usize> {
    if is_portable() {
        return None;
    }
    let mut bytes: libc::c_int = 0;
    // SAFETY: SIOCOUTQ, which has the number of TIOCOUTQ, writes one int to the address given, which `bytes` is, and
    // keeps nothing.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if result == 0 { usize::try_from(bytes).ok() } else { None }
}

/// How long the datagram that was last taken out of `socket` had waited in it. The first call only turns timestamps on.
#[cfg(target_pointer_width = "64")]
#[allow(unsafe_code, reason = "no crate has this ioctl")]
pub(in crate::sys) fn waited(socket: BorrowedFd<'_>) -> Option<Duration> {
    /// asm-generic/sockios.h; the struct is the same in the old and the new form where pointers have 64 bits.
    const SIOCGSTAMPNS: libc::Ioctl = 0x8907;
    if is_portable() || cfg!(any(target_arch = "mips64", target_arch = "sparc64")) {
        return None;
    }
    let mut came = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: SIOCGSTAMPNS writes one struct timespec to the address given, which `came` is, and keeps nothing (socket(7)).
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCGSTAMPNS, &raw mut came) };
    let came = Duration::new(u64::try_from(came.tv_sec).ok()?, u32::try_from(came.tv_nsec).ok()?);
    // The kernel takes timestamps from the wall clock. When that is set, only the datagrams waiting then get a wrong age.
    let waited = SystemTime::now().duration_since(UNIX_EPOCH + came).ok()?;
    (result == 0).then_some(waited)
}

#[cfg(not(target_pointer_width = "64"))]
pub(in crate::sys) fn waited(_socket: BorrowedFd<'_>) -> Option<Duration> {
    None
}

/// Makes a connected UDP socket report every error that ICMP tells of, also that a host or network is unreachable, and not
/// only that nobody receives at the port (ip(7), IP_RECVERR).
pub(in crate::sys) fn report_icmp_errors(socket: &impl AsFd) {
    if !is_portable() {
        // An IPv6 socket may be connected to an IPv4 address, and takes both; an IPv4 socket refuses the second.
        _ = setsockopt(socket, Ipv4RecvErr, &true);
        _ = setsockopt(socket, Ipv6RecvErr, &true);
    }
}

/// Empties the queue of reported errors, which takes room of the socket's buffer. The call that failed had the error itself.
pub(in crate::sys) fn clear_icmp_errors(socket: &impl AsFd) {
    // The datagram that each error is about is cut off.
    while !is_portable()
        && rustix::net::recv(socket, &mut [0; 1], RecvFlags::ERRQUEUE | RecvFlags::DONTWAIT).is_ok()
    {}
}

/// How many datagrams the system has dropped since `socket` was made, since its receive buffer was full. Counts from 0 again
/// after [`u32::MAX`].
#[allow(unsafe_code, reason = "no crate has this option")]
pub(in crate::sys) fn overflowed(socket: BorrowedFd<'_>) -> Option<u32> {
    if is_portable() {
        return None;
    }
    const DROPS: usize = libc::SK_MEMINFO_DROPS as usize;
    let mut counters = [0_u32; DROPS + 1];
    let size = mem::size_of_val(&counters) as libc::socklen_t;
    let mut filled = size;
    // SAFETY: SO_MEMINFO fills in as many u32 as `filled` says there is room for, says how many bytes these are, and keeps no
    // pointer (linux/sock_diag.h).
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            counters.as_mut_ptr().cast(),
            &raw mut filled,
        )
    };
    // A kernel without it (before 4.12) does not tell.
    (result == 0 && filled == size).then_some(counters[DROPS])
}

/// Whether there is an event port that tells of every change of a socket, urgent data and errors among them (epoll(7)).
pub(in crate::sys) fn has_event_port() -> bool {
    !is_portable()
}

/// The flag to send bytes with that the end of the stream follows (send(2), MSG_MORE).
pub(in crate::sys) const LAST: SendFlags = SendFlags::MORE;

/// The two ends of a pipe in the kernel, neither of which blocks.
#[derive(Debug)]
pub(in crate::sys) struct KernelPipe {
    out: OwnedFd,
    into: OwnedFd,
    capacity: usize,
}

impl KernelPipe {
    /// A pipe of `size` bytes, or of what the system allows (pipe(7): pipe-max-size, pipe-user-pages-soft).
    pub(in crate::sys) fn new(size: usize) -> io::Result<Self> {
        if is_portable() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let (out, into) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let capacity = fcntl_setpipe_size(&into, size).or_else(|_| fcntl_getpipe_size(&into))?;
        if capacity < SMALLEST {
            return Err(io::Error::other(format!("the system gives pipes of {capacity} bytes only")));
        }
        Ok(Self { out, into, capacity })
    }

    pub(in crate::sys) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Moves up to `most` bytes from `source` into the pipe.
    pub(in crate::sys) fn fill(&self, source: impl AsFd, most: usize) -> io::Result<usize> {
        splice(source, &self.into, most)
    }

    /// Moves up to `most` bytes from the pipe to `sink`.
    pub(in crate::sys) fn drain(&self, sink: impl AsFd, most: usize) -> io::Result<usize> {
        splice(&self.out, sink, most)
    }

    /// Reads from the pipe into memory.
    pub(in crate::sys) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::retry_on_intr(|| rustix::io::read(&self.out, &mut *buffer))?)
    }
}

fn splice(from: impl AsFd, to: impl AsFd, most: usize) -> io::Result<usize> {
    loop {
        match splice_some(&from, None, &to, None, most, SpliceFlags::MOVE | SpliceFlags::NONBLOCK) {
            Err(rustix::io::Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}
