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

/// How long pen waits before it tries a Unix server again whose backlog is full.
const FULL_PAUSE: Duration = Duration::from_millis(10);

/// Connects to `address` on behalf of `client`; takes as long as the system does.
///
/// # Errors
/// As connect(2), with whose failure it is.
pub(in crate::net) async fn attempt(
    snapshot: &Snapshot,
    address: &ServerAddress,
    client: Option<IpAddr>,
) -> Result<Stream, Failure> {
    let socket = loop {
        match begin(snapshot, address, client) {
            // The backlog of a Unix server is full (connect(2), Linux): where TCP would try again by itself, nothing wakes us.
            Err(failure) if failure.error.kind() == io::ErrorKind::WouldBlock => {
                tokio::time::sleep(FULL_PAUSE).await;
            }
            begun => break begun?,
        }
    };
    let socket = socket.connected().await.map_err(|error| Failure::of_connect(address, error))?;
    Ok(socket.into())
}

fn begin(snapshot: &Snapshot, address: &ServerAddress, client: Option<IpAddr>) -> Result<Socket, Failure> {
    let of_connect = |error| Failure::of_connect(address, error);
    match address {
        ServerAddress::Ip(ip) => {
            let socket = open(snapshot, *ip, client).map_err(Failure::of_pen)?;
            start(&socket, &(*ip).into()).map_err(of_connect)?;
            Socket::tcp(socket.into()).map_err(Failure::of_pen)
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

/// Begins to connect.
fn start(socket: &PlainSocket, address: &SockAddr) -> io::Result<()> {
    match socket.connect(address) {
        // It goes on all the same (connect(2)).
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(()),
        result => result,
    }
}

/// Waits for `connect`, but not for long. A server that is near answers before the event port is asked the next time, and
/// most are: only when it has not does a timer begin, since setting one costs a system call.
pub(super) async fn within<T>(
    timeout: Duration,
    mut connect: Pin<&mut impl Future<Output = T>>,
) -> Result<T, Elapsed> {
    if let Poll::Ready(result) = poll_fn(|cx| Poll::Ready(connect.as_mut().poll(cx))).await {
        return Ok(result);
    }
    tokio::task::yield_now().await;
    // Boxed: it is large, and most connections have no need of it.
    Box::pin(tokio::time::timeout(timeout, connect)).await
}
