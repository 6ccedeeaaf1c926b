//! What no crate does with a socket, or none as directly.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::net::{RecvFlags, SendFlags};

use super::platform;

/// Bytes written to a stream socket that its peer has not acknowledged yet (tcp(7), unix(7): SIOCOUTQ). `None` where
/// the system does not tell.
pub fn unacknowledged(socket: BorrowedFd<'_>) -> Option<usize> {
    platform::unacknowledged(socket)
}

/// Reads from a stream socket; 0 is the end.
///
/// # Errors
/// As recv(2).
pub fn receive(socket: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<usize> {
    Ok(rustix::net::recv(socket, buf, RecvFlags::empty())?.0)
}

/// Writes to a stream socket what it takes. No signal comes of a peer that is gone: Rust's start-up ignores SIGPIPE.
///
/// # Errors
/// As send(2).
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    Ok(rustix::net::send(socket, bytes, SendFlags::empty())?)
}

/// Whether a stream socket that gave or took fewer bytes than it was asked for has no more, until the event port tells of
/// it again.
pub fn short_means_exhausted() -> bool {
    platform::short_means_exhausted()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn counts_what_the_peer_has_not_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let mut client = TcpStream::connect(listener.local_addr().expect("bound")).expect("connects");
        let (mut server, _) = listener.accept().expect("accepts");
        let Some(before) = unacknowledged(client.as_fd()) else {
            assert!(cfg!(not(target_os = "linux")) || std::env::var_os("PEN_PORTABLE").is_some());
            return;
        };
        assert_eq!(before, 0);
        // Until no more fits between the two.
        client.set_nonblocking(true).expect("non-blocking");
        let mut written = 0;
        while let Ok(count) = client.write(&[7; 65536]) {
            written += count;
        }
        let waiting = unacknowledged(client.as_fd()).expect("told");
        assert!(0 < waiting && waiting <= written, "{waiting} of {written}");
        drop(listener);
        server.read_exact(&mut vec![0; written]).expect("everything arrives");
        while unacknowledged(client.as_fd()) != Some(0) {
            std::thread::yield_now(); // The last acknowledgement is on its way.
        }
    }
}
