//! The sizes of a socket's buffers.

use std::io;
use std::os::fd::AsFd;

use socket2::SockRef;

use super::received::DATAGRAM_MAX;

/// The requested size of the receive buffer, in bytes: it holds datagrams from clients while pen is busy. The system
/// may allow less.
pub(super) const RECEIVE_BUFFER: usize = 4 << 20;

/// Sets the receive buffer of a socket to `wanted` bytes, or as many as the system allows. Linux reduces a larger size
/// to its limit; Solaris and illumos refuse it (above max_buf of udp, 2 MiB) and leave the buffer unchanged.
pub fn enlarge_receive_buffer(socket: &impl AsFd, wanted: usize) {
    let socket = SockRef::from(socket);
    let present = socket.recv_buffer_size().unwrap_or(0);
    halve_until_accepted(wanted, present, |size| socket.set_recv_buffer_size(size));
}

/// Calls `set` with `wanted`, half of it and so on until a size is accepted, as long as it is greater than `present`.
fn halve_until_accepted(wanted: usize, present: usize, mut set: impl FnMut(usize) -> io::Result<()>) {
    let mut size = wanted;
    while size > present && set(size).is_err() {
        size /= 2;
    }
}

/// Allows a socket to send the largest datagram: the default of some systems is smaller (Solaris: udp_xmit_hiwat).
pub(super) fn make_room_to_send(socket: &impl AsFd) {
    let socket = SockRef::from(socket);
    if socket.send_buffer_size().is_ok_and(|size| size < 2 * DATAGRAM_MAX) {
        // On failure only large datagrams fail.
        _ = socket.set_send_buffer_size(2 * DATAGRAM_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The resulting size on a system that accepts up to `allowed` bytes and refuses more.
    fn ends_with(allowed: usize, present: usize) -> usize {
        let mut held = present;
        halve_until_accepted(RECEIVE_BUFFER, present, |size| {
            if size > allowed {
                return Err(io::Error::from_raw_os_error(libc::ENOBUFS));
            }
            held = size;
            Ok(())
        });
        held
    }

    #[test]
    fn a_size_that_is_refused_is_halved_until_it_is_not() {
        assert_eq!(ends_with(usize::MAX, 57_344), 4 << 20);
        assert_eq!(ends_with(2 << 20, 57_344), 2 << 20);
        assert_eq!(ends_with((2 << 20) - 1, 57_344), 1 << 20);
        assert_eq!(ends_with(100_000, 57_344), 65_536);
        // The size never shrinks.
        assert_eq!(ends_with(50_000, 57_344), 57_344);
    }
}
