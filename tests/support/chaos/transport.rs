//! The non-blocking transport of a conversation: TCP, or TLS over it.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use openssl::ssl::{ErrorCode, SslStream};
use socket2::Socket;

/// One end of a connection. `WouldBlock` means that nothing can be done for now; any other error is the end of a
/// connection that was not closed in order.
pub(crate) trait Transport {
    /// The socket.
    fn socket(&self) -> &Socket;
    /// Reads; 0 is the orderly end.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
    /// Writes. After `WouldBlock` it is called with the same bytes again.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Tells the peer that no more data follows.
    fn finish(&mut self);
    /// Whether there are received bytes that no event will announce.
    fn has_buffered(&self) -> bool {
        false
    }
    /// Whether it may carry urgent data.
    fn takes_urgent(&self) -> bool {
        false
    }

    /// The descriptor to wait for.
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket().as_fd()
    }

    /// Closing it resets the connection.
    fn break_off(&self) {
        self.socket().set_linger(Some(Duration::ZERO)).unwrap();
    }
}

/// TCP alone.
#[derive(Debug)]
pub(crate) struct Plain(pub(crate) Socket);

impl Transport for Plain {
    fn socket(&self) -> &Socket {
        &self.0
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn finish(&mut self) {
        // A reset by the peer is detected by reading.
        _ = self.0.shutdown(Shutdown::Write);
    }

    fn takes_urgent(&self) -> bool {
        true
    }
}

impl Transport for SslStream<Socket> {
    fn socket(&self) -> &Socket {
        self.get_ref()
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.ssl_read(buffer) {
            Err(error) if error.code() == ErrorCode::ZERO_RETURN => Ok(0),
            result => result.map_err(blocked_or_broken),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.ssl_write(bytes).map_err(blocked_or_broken)
    }

    fn finish(&mut self) {
        // The socket's buffer has room, since everything before was written. A failure is detected by reading.
        _ = self.shutdown();
    }

    fn has_buffered(&self) -> bool {
        self.ssl().pending() > 0
    }
}

fn blocked_or_broken(error: openssl::ssl::Error) -> io::Error {
    match error.code() {
        ErrorCode::WANT_READ | ErrorCode::WANT_WRITE => ErrorKind::WouldBlock.into(),
        _ => io::Error::other(error.to_string()),
    }
}
