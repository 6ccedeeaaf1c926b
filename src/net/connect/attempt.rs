//! One attempt to connect to one address of a server.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use socket2::{SockAddr, SockRef, Socket as PlainSocket};
use tokio::time::error::Elapsed;

use crate::core::snapshot::{ServerAddress, Snapshot};
use crate::net::socket::Socket;
use crate::net::stream::Stream;
use crate::sys::socket;

use super::failure::Failure;
use super::setup;

/// How long pen waits before it retries a Unix server with a full backlog.
const FULL_PAUSE: Duration = Duration::from_millis(10);

/// When the acknowledgement goes that completes the connect to a TCP server, and without which the server does not know of
/// the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::net) enum HandshakeAck {
    /// At once.
    Alone,
    /// With the first data, in one packet; [`Stream::acknowledge`] must be called if none follows at once.
    WithData,
}

/// Connects to `address` on behalf of `client`, without a time limit of its own.
///
/// # Errors
/// See connect(2), with the origin of the failure.
pub(in crate::net) async fn attempt(
    snapshot: &Snapshot,
    address: &ServerAddress,
    client: Option<IpAddr>,
    ack: HandshakeAck,
) -> Result<Stream, Failure> {
    let socket = loop {
        match begin(snapshot, address, client, ack) {
            // The backlog of a Unix server is full (connect(2), Linux): TCP would retry by itself, but here nothing
            // wakes the task.
            Err(failure) if failure.error.kind() == io::ErrorKind::WouldBlock => {
                tokio::time::sleep(FULL_PAUSE).await;
            }
            begun => break begun?,
        }
    };
    let socket = socket.connected().await.map_err(|error| Failure::of_connect(address, error))?;
    Ok(socket.into())
}

fn begin(
    snapshot: &Snapshot,
    address: &ServerAddress,
    client: Option<IpAddr>,
    ack: HandshakeAck,
) -> Result<Socket, Failure> {
    let of_connect = |error| Failure::of_connect(address, error);
    match address {
        ServerAddress::Ip(ip) => {
            let socket = open(snapshot, *ip, client).map_err(Failure::of_pen)?;
            if ack == HandshakeAck::WithData {
                socket::acknowledge_with_data(&socket);
            }
            start(&socket, &(*ip).into()).map_err(of_connect)?;
            let mut socket = Socket::tcp(socket.into()).map_err(Failure::of_pen)?;
            socket.set_ack_waits(ack == HandshakeAck::WithData);
            Ok(socket)
        }
        ServerAddress::Unix(path) => {
            let target = SockAddr::unix(path).map_err(of_connect)?;
            let socket = socket::stream_to(&target).map_err(Failure::of_pen)?;
            start(&socket, &target).map_err(of_connect)?;
            Socket::unix(socket.into()).map_err(Failure::of_pen)
        }
    }
}

fn open(snapshot: &Snapshot, address: SocketAddr, client: Option<IpAddr>) -> io::Result<PlainSocket> {
    let socket = socket::stream_to(&address.into())?;
    setup::set_options(snapshot, &SockRef::from(&socket));
    setup::bind(snapshot, &socket, address, client)?;
    Ok(socket)
}

/// Starts to connect.
fn start(socket: &PlainSocket, address: &SockAddr) -> io::Result<()> {
    match socket.connect(address) {
        // The connect continues (connect(2)).
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(()),
        result => result,
    }
}

/// Waits for `connect` up to a timeout. Most servers are near and answer before the event port is polled the next time;
/// the timer starts only if not, since setting one costs a system call.
pub(super) async fn within<T>(
    timeout: Duration,
    mut connect: Pin<&mut impl Future<Output = T>>,
) -> Result<T, Elapsed> {
    if let Poll::Ready(result) = poll_fn(|cx| Poll::Ready(connect.as_mut().poll(cx))).await {
        return Ok(result);
    }
    tokio::task::yield_now().await;
    // Boxed: it is large, and most connections do not need it.
    Box::pin(tokio::time::timeout(timeout, connect)).await
}
