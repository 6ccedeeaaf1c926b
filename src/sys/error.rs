//! Errors of the system: whose they are, and with a description of the operation.

use std::fmt::Display;
use std::io;

/// The same kind of error, with the operation in front of its text.
pub(super) fn context(what: impl Display, error: impl Into<io::Error>) -> io::Error {
    let error = error.into();
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// Whether the error is an answer, or the lack of one, from the peer or the network (connect(2), udp(7), RFC 1122
/// 4.1.3.3).
pub fn is_of_network(error: &io::Error) -> bool {
    const CODES: [i32; 9] = [
        libc::ECONNREFUSED,
        libc::ECONNRESET,
        libc::ECONNABORTED,
        libc::EPIPE,
        libc::ETIMEDOUT,
        libc::EHOSTUNREACH,
        libc::ENETUNREACH,
        libc::EHOSTDOWN,
        libc::ENOPROTOOPT,
    ];
    error.raw_os_error().is_some_and(|code| CODES.contains(&code))
}

/// Whether the system lacks what a further socket needs: descriptors, memory, or room in an event port.
pub fn is_shortage(error: &io::Error) -> bool {
    // ENOSR: Solaris, send(3SOCKET) and recv(3SOCKET).
    const CODES: [i32; 6] =
        [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM, libc::ENOSPC, libc::ENOSR];
    error.raw_os_error().is_some_and(|code| CODES.contains(&code))
}
