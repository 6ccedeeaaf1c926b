//! Exclusive use of a port.
//!
//! On Solaris and illumos, SO_REUSEADDR lets one socket listen on the wildcard address and another, of any user, on a
//! specific address of the same port, or on `0.0.0.0` beside `[::]`. SO_EXCLBIND (getsockopt(3SOCKET)) prevents that
//! and keeps the purpose of SO_REUSEADDR: to bind while old connections are in TIME_WAIT. But it also refuses a port while
//! connections to it are established, so that pen cannot move back to a port that it has left before its clients there
//! are gone: a restart closes them first. Linux never lets two sockets listen there.

use std::ffi::c_int;
use std::io;
use std::os::fd::AsRawFd;

use socket2::Socket;

/// The option of SOL_SOCKET for exclusive use of a port; `None` if the system enforces it anyway.
#[cfg(any(target_os = "solaris", target_os = "illumos"))]
const OPTION: Option<c_int> = Some(libc::SO_EXCLBIND);
#[cfg(not(any(target_os = "solaris", target_os = "illumos", test)))]
const OPTION: Option<c_int> = None;
/// On other systems, unit tests set an option that nothing else in pen sets, so that they see which sockets have it.
#[cfg(all(test, not(any(target_os = "solaris", target_os = "illumos"))))]
const OPTION: Option<c_int> = Some(libc::SO_OOBINLINE);

/// Prevents any other socket from using the port that `socket` will be bound to, whatever its address. It has no effect
/// once the socket is bound.
///
/// # Errors
/// See setsockopt(3SOCKET).
pub(super) fn bind_exclusively(socket: &Socket) -> io::Result<()> {
    OPTION.map_or(Ok(()), |option| switch_on(socket, option))
}

/// Enables an integer option of SOL_SOCKET.
#[allow(unsafe_code, reason = "no crate has SO_EXCLBIND")]
fn switch_on(socket: &Socket, option: c_int) -> io::Result<()> {
    let on: c_int = 1;
    // SAFETY: options of this kind take one int, which `on` is, and the call keeps no pointer to it.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Whether [`bind_exclusively`] has been called for a socket.
#[cfg(test)]
#[allow(unsafe_code, reason = "no crate has SO_EXCLBIND")]
pub(super) fn is_exclusive(socket: &impl AsRawFd) -> bool {
    let mut value: c_int = 0;
    let mut length = size_of_val(&value) as libc::socklen_t;
    let option = OPTION.expect("an option in tests");
    // SAFETY: `value` has room for the `length` bytes that may be written to it.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw mut value).cast(),
            &raw mut length,
        )
    };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
    value != 0
}
