//! Exclusive use of a port.
//!
//! On Solaris and illumos, SO_REUSEADDR lets one socket listen on a wildcard address and another, of any user, on one address
//! of the same port, or on `0.0.0.0` beside `[::]`. SO_EXCLBIND (getsockopt(3SOCKET)) refuses that and leaves alone what
//! SO_REUSEADDR is set for: to bind while old connections are in TIME_WAIT. Linux never lets two sockets listen there.

use std::io;

use socket2::Socket;

/// Refuses every other socket on the port that `socket` will be bound to, whatever its address.
///
/// # Errors
/// As setsockopt(3SOCKET).
#[cfg(any(target_os = "solaris", target_os = "illumos"))]
#[allow(unsafe_code, reason = "no crate has this option")]
pub(super) fn bind_exclusively(socket: &Socket) -> io::Result<()> {
    use std::os::fd::AsRawFd;

    let on: libc::c_int = 1;
    // SAFETY: the option takes one int, which `on` is, and keeps no pointer to it.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_EXCLBIND,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Nothing is to be set where the system refuses by itself.
#[cfg(not(any(target_os = "solaris", target_os = "illumos")))]
pub(super) fn bind_exclusively(_socket: &Socket) -> io::Result<()> {
    Ok(())
}
