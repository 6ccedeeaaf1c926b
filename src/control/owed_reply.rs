//! The reply that a client waits for. If pen ends before it is whole, the client is told so: no reply, or the beginning of one,
//! would look like success.
//!
//! A pen that is killed tells nothing: the system closes its sockets. So until the reply is whole, a client's connection is one
//! that ends with a reset when it is closed. Over TCP it is set so. A Unix socket has no such setting, but it has unread bytes:
//! pen leaves the line feed of the command unread. Linux reports a reset to the client of a socket that is closed like that; where
//! the system does not, penctl asks whether pen is there after an empty reply.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, Interest};
use tokio::net::{TcpStream, UnixStream};

use crate::core::command::LINE_MAX;
use crate::core::error::Error;
use crate::core::lexer;
use crate::sys::socket;

use super::protocol;

/// The connection of a client.
pub(super) trait ClientStream: AsyncRead + AsyncWrite + AsFd + Unpin {
    /// Waits for bytes, and copies as many as there are and fit into `bytes`. They stay unread. Returns their number, 0 at the end.
    ///
    /// # Errors
    /// See recv(2).
    fn peek(&self, bytes: &mut [u8]) -> impl Future<Output = io::Result<usize>>;
}

impl ClientStream for TcpStream {
    async fn peek(&self, bytes: &mut [u8]) -> io::Result<usize> {
        self.async_io(Interest::READABLE, || socket::peek(self.as_fd(), bytes)).await
    }
}

impl ClientStream for UnixStream {
    async fn peek(&self, bytes: &mut [u8]) -> io::Result<usize> {
        self.async_io(Interest::READABLE, || socket::peek(self.as_fd(), bytes)).await
    }
}

/// From now on `client` is owed a reply.
pub(super) fn is_owed(client: &impl AsFd) {
    socket::reset_on_close(client);
}

/// The reply to `client` is whole: its end is to follow.
pub(super) fn is_whole(client: &impl AsFd) {
    socket::drop_unread(client);
    socket::end_on_close(client);
}

/// Reads a line, up to its line feed or to the end of what the client sends. The line feed stays unread.
///
/// # Errors
/// The client has gone. `InvalidData`: the line is too long or not UTF-8.
pub(super) async fn line(client: &mut impl ClientStream) -> io::Result<String> {
    let mut line = Vec::new();
    let mut chunk = [0; 1024];
    loop {
        let got = client.peek(&mut chunk).await?;
        let end = memchr::memchr(b'\n', chunk.get(..got).unwrap_or_default());
        let part = chunk.get_mut(..end.unwrap_or(got)).unwrap_or_default();
        client.read_exact(part).await?;
        line.extend_from_slice(part);
        if line.len() > LINE_MAX {
            return Err(invalid(format!("a line of more than {LINE_MAX} bytes")));
        }
        if end.is_some() || got == 0 {
            let text = lexer::text_of(&line).map_err(|error| invalid(error.to_string()))?;
            return Ok(text.into_owned());
        }
    }
}

/// The error for a client that has sent no valid line.
pub(super) fn invalid(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// The result of `work`, for which `client` waits. If this is dropped before, the client gets an error instead.
pub(super) async fn for_client<T>(client: BorrowedFd<'_>, work: impl Future<Output = T>) -> T {
    let mut reply = OwedReply { client, is_there: false };
    let result = work.await;
    reply.is_there = true;
    result
}

struct OwedReply<'a> {
    client: BorrowedFd<'a>,
    is_there: bool,
}

impl Drop for OwedReply<'_> {
    fn drop(&mut self) {
        if !self.is_there {
            let error = protocol::refusal(&[Error::new("pen has ended before it could reply")]);
            // Nothing has been written to this client: there is room.
            if socket::send(self.client, error.as_bytes(), false).ok() == Some(error.len()) {
                is_whole(&self.client);
            }
        }
    }
}
