//! The sizes of a socket's buffers.

use std::os::fd::AsFd;

use socket2::SockRef;

use super::received::DATAGRAM_MAX;

/// What the socket that clients send to holds while pen is busy elsewhere, in bytes, as far as the system lets it.
const RECEIVE_BUFFER: usize = 4 << 20;

/// Lets a socket hold many datagrams that wait.
pub(super) fn enlarge_receive_buffer(socket: &impl AsFd) {
    // A system that gives less says so, and gives what it can.
    _ = SockRef::from(socket).set_recv_buffer_size(RECEIVE_BUFFER);
}

/// Lets a socket send the largest datagram: some systems have a default that is smaller (Solaris: udp_xmit_hiwat).
pub(super) fn make_room_to_send(socket: &impl AsFd) {
    let socket = SockRef::from(socket);
    if socket.send_buffer_size().is_ok_and(|size| size < 2 * DATAGRAM_MAX) {
        // Smaller ones pass all the same.
        _ = socket.set_send_buffer_size(2 * DATAGRAM_MAX);
    }
}
