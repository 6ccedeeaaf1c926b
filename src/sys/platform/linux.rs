//! Features that only Linux has. `portable.rs` has the same interface for every other system.

use std::io;
use std::mem;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{IpBindAddressNoPort, Ipv4RecvErr, Ipv6RecvErr};
use rustix::event::PollFlags;
use rustix::fs::Mode;
use rustix::net::sockopt::set_tcp_quickack;
use rustix::net::{RecvFlags, SendFlags};
use rustix::pipe::{
    PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with, splice as splice_some,
};
use socket2::{SockFilter, SockRef};

use crate::sys::emulation::is_portable;

/// The smallest pipe size at which splicing is faster than copying.
const SMALLEST: usize = 64 << 10;

/// What poll(2) reports of a peer that has ended its stream, whatever is still to be read.
pub(in crate::sys) const PEER_ENDED: Option<PollFlags> = Some(PollFlags::RDHUP);

/// Allows `socket` to bind to foreign addresses of the same family as `family` (ip(7), IP_TRANSPARENT).
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

/// Makes the next bind to port 0 set only the address: the port is chosen at connect, when both ends are known (ip(7),
/// IP_BIND_ADDRESS_NO_PORT).
pub(in crate::sys) fn leave_port_to_connect(socket: &impl AsFd) {
    if !is_portable() {
        // Kernels before 4.2 lack the option and choose the port at once.
        _ = setsockopt(socket, IpBindAddressNoPort, &true);
    }
}

/// Makes the acknowledgement that completes the next connect of a TCP socket wait for data to go with it, or for
/// [`acknowledge`], or 200 ms (tcp(7), TCP_QUICKACK).
pub(in crate::sys) fn acknowledge_with_data(socket: &impl AsFd) {
    if !is_portable() {
        // If the system refuses, it acknowledges at once.
        _ = set_tcp_quickack(socket, false);
    }
}

/// Sends an acknowledgement that waits for data.
pub(in crate::sys) fn acknowledge(socket: &impl AsFd) {
    if !is_portable() {
        // Fails only on a connection that is broken, which has nothing to acknowledge.
        _ = set_tcp_quickack(socket, true);
    }
}

/// A filter for a TCP socket (see filter.rst of the kernel) that drops a SYN without ACK and passes everything else.
/// The segment starts at the TCP header, whose flags are in byte 13.
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

/// Makes a listening TCP socket drop the SYNs of new connections, or accept them again. Handshakes that have begun are
/// completed in either case. False when the system refuses.
pub(in crate::sys) fn set_syn_filter(listener: &impl AsFd, on: bool) -> bool {
    if is_portable() {
        return false;
    }
    let socket = SockRef::from(listener);
    let done = if on { socket.attach_filter(&NO_SYN) } else { socket.detach_filter() };
    done.is_ok()
}

/// Sets the permissions, less the umask, of the file that the bind of a Unix socket will create: on Linux those of the
/// unbound socket. False when the system has no such way.
pub(in crate::sys) fn set_mode_before_bind(socket: &impl AsFd, mode: u32) -> io::Result<bool> {
    if is_portable() {
        return Ok(false);
    }
    rustix::fs::fchmod(socket, Mode::from_raw_mode(mode))?;
    Ok(true)
}

/// How much lower the priority of a thread that yields to others is. It gets a quarter of a processor that another
/// thread is ready to use in full, and does not interrupt that one (sched(7)).
const LESS: i32 = 5;

/// Lowers the priority of the calling thread; on Linux each has its own (nice(2)).
pub(in crate::sys) fn lower_priority() -> io::Result<()> {
    rustix::process::nice(LESS)?;
    Ok(())
}

/// The number of open descriptors, which is the size of this directory from Linux 6.2 on; before that the size is 0.
pub(in crate::sys) fn open_descriptors() -> Option<u64> {
    if is_portable() {
        return None;
    }
    let size = rustix::fs::stat("/proc/self/fd").ok()?.st_size;
    u64::try_from(size).ok().filter(|size| *size > 0)
}

/// Allows or forbids core files of this process, and access to its memory by other processes of its user (prctl(2),
/// PR_SET_DUMPABLE). A change of user forbids both.
pub(in crate::sys) fn set_dumpable(on: bool) {
    _ = nix::sys::prctl::set_dumpable(on);
}

/// The number of bytes that the peer of `socket` has not acknowledged.
#[allow(unsafe_code, reason = "no crate has this ioctl")]
pub(in crate::sys) fn unacknowledged(socket: BorrowedFd<'_>) -> Option<usize> {
    if is_portable() {
        return None;
    }
    let mut bytes: libc::c_int = 0;
    // SAFETY: SIOCOUTQ, which has the number of TIOCOUTQ, writes one int to the given address, which `bytes` is, and
    // keeps no pointer.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if result == 0 { usize::try_from(bytes).ok() } else { None }
}

/// How long the last datagram read from `socket` had waited in it. The first call only enables timestamps.
#[cfg(target_pointer_width = "64")]
#[allow(unsafe_code, reason = "no crate has this ioctl")]
pub(in crate::sys) fn waited(socket: BorrowedFd<'_>) -> Option<Duration> {
    /// From asm-generic/sockios.h; the old and the new form of the struct are the same on 64-bit systems.
    const SIOCGSTAMPNS: libc::Ioctl = 0x8907;
    if is_portable() || cfg!(any(target_arch = "mips64", target_arch = "sparc64")) {
        return None;
    }
    let mut came = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: SIOCGSTAMPNS writes one struct timespec to the given address, which `came` is, and keeps no pointer
    // (socket(7)).
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCGSTAMPNS, &raw mut came) };
    let came = Duration::new(u64::try_from(came.tv_sec).ok()?, u32::try_from(came.tv_nsec).ok()?);
    // The kernel's timestamps are those of the wall clock. When it is set, only datagrams waiting at that time get a
    // wrong age.
    let waited = SystemTime::now().duration_since(UNIX_EPOCH + came).ok()?;
    (result == 0).then_some(waited)
}

#[cfg(not(target_pointer_width = "64"))]
pub(in crate::sys) fn waited(_socket: BorrowedFd<'_>) -> Option<Duration> {
    None
}

/// Makes a connected UDP socket report every ICMP error, including an unreachable host or network, and not only that
/// nobody receives on the port (ip(7), IP_RECVERR).
pub(in crate::sys) fn report_icmp_errors(socket: &impl AsFd) {
    if !is_portable() {
        // An IPv6 socket may be connected to an IPv4 address, and accepts both options; an IPv4 socket refuses the
        // second.
        _ = setsockopt(socket, Ipv4RecvErr, &true);
        _ = setsockopt(socket, Ipv6RecvErr, &true);
    }
}

/// Empties the queue of reported errors, which takes room in the socket's buffer. The failed call returned the error
/// itself.
pub(in crate::sys) fn clear_icmp_errors(socket: &impl AsFd) {
    // The datagram that each error refers to is cut off.
    while !is_portable()
        && rustix::net::recv(socket, &mut [0; 1], RecvFlags::ERRQUEUE | RecvFlags::DONTWAIT).is_ok()
    {}
}

/// The number of datagrams that the system has dropped since `socket` was created because its receive buffer was full.
/// Wraps around after [`u32::MAX`].
#[allow(unsafe_code, reason = "no crate has this option")]
pub(in crate::sys) fn overflowed(socket: BorrowedFd<'_>) -> Option<u32> {
    if is_portable() {
        return None;
    }
    const DROPS: usize = libc::SK_MEMINFO_DROPS as usize;
    let mut counters = [0_u32; DROPS + 1];
    let size = mem::size_of_val(&counters) as libc::socklen_t;
    let mut filled = size;
    // SAFETY: SO_MEMINFO writes at most as many u32 values as `filled` allows, sets it to the size in bytes, and keeps
    // no pointer (linux/sock_diag.h).
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            counters.as_mut_ptr().cast(),
            &raw mut filled,
        )
    };
    // Kernels before 4.12 do not report it.
    (result == 0 && filled == size).then_some(counters[DROPS])
}

/// Whether there is an event port that reports every change of a socket, including urgent data and errors (epoll(7)).
pub(in crate::sys) fn has_event_port() -> bool {
    !is_portable()
}

/// The flag for sending bytes that the end of the stream follows (send(2), MSG_MORE).
pub(in crate::sys) const LAST: SendFlags = SendFlags::MORE;

/// The two non-blocking ends of a kernel pipe.
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
            return Err(io::Error::other(format!("the system only allows pipes of {capacity} bytes")));
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
