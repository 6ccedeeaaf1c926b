//! Connecting to servers.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use socket2::{SockAddr, SockRef, Socket as Unwatched};
use tokio::time::error::Elapsed;

use crate::core::select::{Selected, Selection};
use crate::core::snapshot::{ServerAddress, Snapshot};
use crate::sys::{log, socket};

use super::shared::Shared;
use super::socket::Socket;
use super::stream::Stream;

/// How long pen that is out of descriptors waits for a connection to end before it looks again, here and in accepting.
pub const SHORTAGE_PAUSE: Duration = Duration::from_millis(500);
/// How often it looks for one client: half a minute.
const SHORTAGE_TRIES: u32 = 60;

/// How long pen waits before it tries a Unix server again whose backlog is full.
const FULL_PAUSE: Duration = Duration::from_millis(10);

/// Whose fault a failed connect is.
pub(super) enum Failure {
    /// The server's: it is left out for a while.
    Server(io::Error),
    /// Ours, such as no descriptors: it says nothing about the server.
    Local(io::Error),
}

/// Connects fail for a reason of ours.
static LOCAL: log::Condition = log::Condition::new();

/// Finds a server that takes the connection: tries each that `selection` names until one does.
/// `None` when nobody does, and the client is to be closed.
pub async fn establish(
    shared: &Shared,
    snapshot: &Snapshot,
    selection: &mut Selection,
) -> Option<(Selected, Stream)> {
    let client = selection.client().ip();
    let _connecting = shared.connecting().await;
    while let Some(selected) = selection.next(shared.now()) {
        match connect_when_possible(shared, snapshot, &selected.backend.addresses, client).await {
            Ok(stream) => {
                succeed(&selected);
                LOCAL.end(format_args!("connecting to servers again"));
                return Some((selected, stream));
            }
            Err(Failure::Local(error)) => {
                LOCAL.begin(format_args!("cannot connect to servers: {error}"));
                return None;
            }
            Err(Failure::Server(error)) => {
                fail(shared, snapshot, selection, &selected, &error);
            }
        }
    }
    None
}

/// Connects; where the system is out of descriptors or buffers, waits for some, since the client is accepted already and
/// the server is not to blame. Gives up in the end, when the shortage is none that ends with a connection.
async fn connect_when_possible(
    shared: &Shared,
    snapshot: &Snapshot,
    addresses: &[ServerAddress],
    client: Option<IpAddr>,
) -> Result<Stream, Failure> {
    let mut tries = SHORTAGE_TRIES;
    loop {
        match connect(snapshot, addresses, client).await {
            Err(Failure::Local(error)) if is_shortage(&error) && tries > 0 => {
                LOCAL.begin(format_args!("cannot connect to servers: {error}"));
                tries -= 1;
            }
            result => return result,
        }
        _ = Box::pin(tokio::time::timeout(SHORTAGE_PAUSE, shared.connections.freed())).await;
    }
}

/// Whether the system lacks what a further socket needs.
pub fn is_shortage(error: &io::Error) -> bool {
    let codes = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}

/// The server could not be reached: it is left out, and that is reported once each time.
pub(super) fn fail(
    shared: &Shared,
    snapshot: &Snapshot,
    selection: &Selection,
    selected: &Selected,
    error: &io::Error,
) {
    let backend = &selected.backend;
    if selection.failed(selected, shared.now()) && snapshot.blacklist > 0 {
        let seconds = snapshot.blacklist / 1000;
        log::warn(format_args!("blacklisting {backend} for {seconds} s: {error}"));
    } else {
        log::debug(1, format_args!("{backend} failed: {error}"));
    }
}

/// The server works.
pub(super) fn succeed(selected: &Selected) {
    if selected.backend.stats.works() {
        log::info(format_args!("{} works again", selected.backend));
    }
}

async fn connect(
    snapshot: &Snapshot,
    addresses: &[ServerAddress],
    client: Option<IpAddr>,
) -> Result<Stream, Failure> {
    let timeout = Duration::from_millis(snapshot.timeout);
    let mut failure = Failure::Server(io::ErrorKind::NotFound.into());
    for target in addresses {
        match within(timeout, pin!(connect_one(snapshot, target, client))).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failure = error,
            // The time is for the server as a whole: its other addresses get none.
            Err(_) => {
                return Err(Failure::Server(io::Error::new(io::ErrorKind::TimedOut, "connect timed out")));
            }
        }
    }
    Err(failure)
}

/// Waits for `attempt`, but not for long. A server that is near answers before the event port is asked the next time, and
/// most are: only when it has not does a timer begin, since setting one costs a system call.
async fn within<T>(timeout: Duration, mut attempt: Pin<&mut impl Future<Output = T>>) -> Result<T, Elapsed> {
    if let Poll::Ready(result) = poll_fn(|cx| Poll::Ready(attempt.as_mut().poll(cx))).await {
        return Ok(result);
    }
    tokio::task::yield_now().await;
    // Boxed: it is large, and most connections have no need of it.
    Box::pin(tokio::time::timeout(timeout, attempt)).await
}

async fn connect_one(
    snapshot: &Snapshot,
    target: &ServerAddress,
    client: Option<IpAddr>,
) -> Result<Stream, Failure> {
    let begun = match target {
        ServerAddress::Unix(path) => loop {
            match begin_unix(path) {
                // Its backlog is full (connect(2), Linux): where TCP would try again by itself, nothing wakes us.
                Err(Failure::Server(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    tokio::time::sleep(FULL_PAUSE).await;
                }
                begun => break begun?,
            }
        },
        ServerAddress::Ip(address) => {
            let socket = open(snapshot, *address, client).map_err(Failure::Local)?;
            Socket::begin(socket, &(*address).into()).map_err(classify)?
        }
    };
    begun.connected().await.map(Stream::from).map_err(classify)
}

fn begin_unix(path: &str) -> Result<Socket, Failure> {
    let address = SockAddr::unix(path).map_err(classify)?;
    let socket = socket::stream_to(&address).map_err(Failure::Local)?;
    Socket::begin(socket, &address).map_err(classify)
}

fn open(snapshot: &Snapshot, address: SocketAddr, client: Option<IpAddr>) -> io::Result<Unwatched> {
    let socket = socket::stream_to(&address.into())?;
    set_options(snapshot, &SockRef::from(&socket));
    bind(snapshot, &socket, address, client)?;
    Ok(socket)
}

/// Binds a socket that is to connect to `address` on behalf of `client` where the modes ask for it. Where the system does
/// not let it have the client's address, that is reported, and the server sees pen's.
///
/// # Errors
/// As bind(2).
pub(super) fn bind(
    snapshot: &Snapshot,
    socket: &impl AsFd,
    address: SocketAddr,
    client: Option<IpAddr>,
) -> io::Result<()> {
    let same_family = |ip: &IpAddr| ip.is_ipv4() == address.is_ipv4();
    let wanted = client.filter(same_family).filter(|_| snapshot.sockets.transparent);
    let allowed = wanted.filter(|client| may_be_transparent(socket, *client));
    match allowed.or(snapshot.sockets.source.filter(same_family)) {
        Some(from) => SockRef::from(socket).bind(&SocketAddr::new(from, 0).into()),
        None => Ok(()),
    }
}

fn may_be_transparent(socket: &impl AsFd, client: IpAddr) -> bool {
    static REFUSED: log::Condition = log::Condition::new();
    match socket::transparent(socket, client) {
        Ok(()) => {
            REFUSED.end(format_args!("transparent: connections come from their clients' addresses again"));
            true
        }
        Err(error) => {
            REFUSED.begin(format_args!("transparent: connections come from pen's own address: {error}"));
            false
        }
    }
}

/// Sets what the modes ask for on a TCP connection.
pub fn set_options(snapshot: &Snapshot, socket: &SockRef<'_>) {
    // A socket that is broken already tells so when it is read.
    if snapshot.sockets.tcp_nodelay {
        _ = socket.set_tcp_nodelay(true);
    }
    if snapshot.sockets.keepalive {
        _ = socket.set_keepalive(true);
    }
}

/// Whose fault a connect that failed is.
pub(super) fn classify(error: io::Error) -> Failure {
    let address_used_up = error.raw_os_error() == Some(libc::EADDRNOTAVAIL);
    if address_used_up || is_shortage(&error) { Failure::Local(error) } else { Failure::Server(error) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::addr::Services;
    use crate::core::command::Command;
    use crate::core::config::{Config, Phase};
    use crate::core::snapshot::{Resolved, StatsTable};

    #[tokio::test]
    async fn options_are_set_as_the_modes_say() {
        let services = Services::default();
        let mut config = Config::default();
        for on in [false, true] {
            let snapshot = Snapshot::new(&config, &mut StatsTable::default(), &Resolved::new());
            let socket = open(&snapshot, "127.0.0.1:1".parse().unwrap(), None).unwrap();
            let options = SockRef::from(&socket);
            assert_eq!((options.tcp_nodelay().unwrap(), options.keepalive().unwrap()), (on, on));
            for line in ["tcp_nodelay", "keepalive"] {
                let command = Command::parse(line, &services).unwrap().unwrap();
                config.apply(&command, Phase::Running).unwrap();
            }
        }
    }
}
