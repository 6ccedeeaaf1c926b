//! The first bytes of a connection, which are looked at before they go on their way.

use std::future::poll_fn;
use std::io;
use std::task::{Poll, ready};
use std::time::Duration;

use crate::core::Millis;

use super::relay::buffer;
use super::socket::Socket;

/// Why bytes were not enough for a decision.
#[derive(Debug)]
pub(super) enum Undecided {
    /// They did not come in time.
    Late,
    /// The connection broke.
    Broken(io::Error),
}

/// Reads into `bytes`, `most` of them, until `decide` has seen enough, for `limit` at most. It gets all bytes so far, and whether the
/// stream has ended with them: it must decide then.
///
/// # Errors
/// There is no decision.
pub(super) async fn read_until<T>(
    socket: &mut Socket,
    bytes: &mut Vec<u8>,
    (most, limit): (usize, Millis),
    mut decide: impl FnMut(&[u8], bool) -> Option<T>,
) -> Result<T, Undecided> {
    let reading = async {
        loop {
            let ended = read_more(socket, bytes, most).await.map_err(Undecided::Broken)?;
            if let Some(decision) = decide(bytes, ended) {
                return Ok(decision);
            }
        }
    };
    // Bytes mostly come together with the connection: the timer is set only if not.
    tokio::time::timeout(Duration::from_millis(limit), reading).await.unwrap_or(Err(Undecided::Late))
}

/// Reads the available bytes, first those that were put back; true when there are no more to come, or there is no room. A connection
/// that waits for its first bytes has no buffer for them.
async fn read_more(socket: &mut Socket, bytes: &mut Vec<u8>, most: usize) -> io::Result<bool> {
    poll_fn(|cx| {
        buffer::with_read_buffer(|buffer| {
            let room = most.saturating_sub(bytes.len()).min(buffer.len());
            let into = &mut buffer[..room];
            let count = match socket.take_ahead(into) {
                Some(count) => count,
                None => ready!(socket.poll_read(cx, into))?,
            };
            // Not twice as much as there may ever be.
            if bytes.capacity() - bytes.len() < count {
                bytes.reserve_exact(count.max(bytes.len()).min(most - bytes.len()));
            }
            bytes.extend_from_slice(&into[..count]);
            Poll::Ready(Ok(count == 0))
        })
    })
    .await
}
