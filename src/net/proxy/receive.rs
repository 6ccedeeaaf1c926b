//! The PROXY header at the beginning of a connection.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::{Poll, ready};
use std::time::Duration;

use crate::core::Millis;
use crate::core::proxy::{Header, Parsed, parse};
use crate::net::relay::buffer;
use crate::net::socket::Socket;

use super::faults::Fault;

/// Reads the header at the beginning of a connection, within `limit`. Data received with it is put back; without a
/// header everything is, unless one is `required`.
///
/// # Errors
/// Why the connection must be closed.
pub(in crate::net) async fn receive(
    socket: &mut Socket,
    required: bool,
    limit: Millis,
) -> Result<Header, Fault> {
    let mut reading = pin!(read(socket, required));
    // The header usually arrives together with the connection: no timer is set then.
    if let Poll::Ready(result) = poll_fn(|cx| Poll::Ready(reading.as_mut().poll(cx))).await {
        return result;
    }
    match tokio::time::timeout(Duration::from_millis(limit), reading).await {
        Ok(result) => result,
        Err(_) => Err(Fault::Late(limit)),
    }
}

async fn read(socket: &mut Socket, required: bool) -> Result<Header, Fault> {
    let mut bytes = Vec::new();
    loop {
        let ended = read_more(socket, &mut bytes).await.map_err(Fault::Broken)?;
        match parse(&bytes).map_err(Fault::Malformed)? {
            Parsed::Complete(header, length) => {
                socket.put_back(bytes.split_off(length));
                return Ok(header);
            }
            Parsed::Partial if !ended => {}
            Parsed::Partial | Parsed::Absent if !required => {
                socket.put_back(bytes);
                return Ok(Header::default());
            }
            Parsed::Absent => return Err(Fault::Absent),
            Parsed::Partial if bytes.is_empty() => return Err(Fault::Empty),
            Parsed::Partial => return Err(Fault::CutOff),
        }
    }
}

/// Reads the available data; true at the end of the stream. A connection that waits for its first bytes has no buffer
/// for them.
async fn read_more(socket: &Socket, bytes: &mut Vec<u8>) -> io::Result<bool> {
    poll_fn(|cx| {
        buffer::with_read_buffer(|buffer| {
            let count = ready!(socket.poll_read(cx, buffer))?;
            bytes.extend_from_slice(&buffer[..count]);
            Poll::Ready(Ok(count == 0))
        })
    })
    .await
}
