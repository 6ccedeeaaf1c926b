//! The sockets and files that a configuration names.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::admin::AdminListener;
use crate::core::Error;
use crate::core::addr::{Endpoint, Host, ListenAddress};
use crate::core::settings::Settings;
use crate::net::listener::{Closed, Listener};
use crate::sys::datagram::DatagramSocket;
use crate::sys::listen::{self, SocketFile};
use crate::sys::resolve;

/// The control socket, bound.
#[derive(Debug)]
pub(super) enum ControlSocket {
    /// On an IP address.
    Tcp(std::net::TcpListener),
    /// On a path, with the file of the socket.
    Unix(std::os::unix::net::UnixListener, SocketFile),
}

/// Whoever can open the control socket's file can command pen: only its owner.
const CONTROL_MODE: u32 = 0o600;

/// The least length of the listen queues of the control socket and of the admin listener. A client that finds its queue
/// full tries again after a second, so a queue holds all that come until silent ones have given way.
const CONTROL_BACKLOG: i32 = 4096;

fn backlog(settings: &Settings) -> i32 {
    i32::try_from(settings.backlog).unwrap_or(i32::MAX)
}

fn address(endpoint: &Endpoint) -> Result<SocketAddr, Error> {
    match &endpoint.host {
        Host::Ip(ip) => Ok(SocketAddr::new(*ip, endpoint.port)),
        // No client is served yet; for a running pen, names have been resolved before.
        Host::Name(name) => match resolve::lookup_now(name).map(|found| found.first().copied()) {
            Ok(Some(ip)) => Ok(SocketAddr::new(ip, endpoint.port)),
            Ok(None) => Err(Error::new(format!("{name} has no address"))),
            Err(error) => Err(Error::failed(name, error)),
        },
        Host::Unix(path) => Err(Error::new(format!("{path} is not a network address"))),
    }
}

/// The socket that clients connect to.
#[derive(Debug)]
pub(super) enum BoundListener {
    /// For connections; with a receiver that tells when it is closed, unless pen still had it open.
    Streams(Arc<Listener>, Option<Closed>),
    /// For datagrams.
    Datagrams(Arc<DatagramSocket>),
}

impl BoundListener {
    /// The IP address that it is bound to.
    pub(super) fn address(&self) -> Option<IpAddr> {
        let address = match self {
            BoundListener::Streams(listener, _) => listener.address(),
            BoundListener::Datagrams(socket) => socket.local_addr().ok(),
        };
        address.map(|address| address.ip())
    }
}

/// How long a command waits for retired listeners to close: somewhat longer than workers take for it.
const CLOSING: Duration = Duration::from_millis(500);

/// The sockets that pen listens on or has listened on. A retired one stays open for a while: a listener until its queue
/// is empty, a datagram socket as long as it has flows.
#[derive(Debug, Default)]
pub(super) struct Used {
    /// For connections; the last one is the current one.
    pub(super) streams: Vec<(Weak<Listener>, Closed)>,
    /// For datagrams.
    pub(super) datagrams: Vec<Weak<DatagramSocket>>,
}

impl Used {
    /// The current listener.
    pub(super) fn current(&self) -> Option<Arc<Listener>> {
        self.streams.last().and_then(|(listener, _)| listener.upgrade())
    }

    /// The IP address that pen listens on now.
    pub(super) fn address(&self) -> Option<IpAddr> {
        let datagrams = || self.datagrams.last()?.upgrade()?.local_addr().ok();
        let bound = self.current().and_then(|listener| listener.address()).or_else(datagrams);
        bound.map(|address| address.ip())
    }

    /// The listener that is bound to the address.
    fn stream(&self, address: SocketAddr) -> Option<Arc<Listener>> {
        let mut open = self.streams.iter().filter_map(|(listener, _)| listener.upgrade());
        open.find(|listener| listener.address() == Some(address))
    }

    /// The datagram socket that is bound to the address.
    fn datagram(&self, address: SocketAddr) -> Option<Arc<DatagramSocket>> {
        let mut kept = self.datagrams.iter().filter_map(Weak::upgrade);
        kept.find(|socket| socket.local_addr().is_ok_and(|bound| bound == address))
    }

    /// Binds; again if the address is possibly that of a listener that pen has just retired.
    fn after_retired<T>(&self, bind: impl Fn() -> io::Result<T>) -> io::Result<T> {
        match bind() {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && self.retired_are_closed() => bind(),
            bound => bound,
        }
    }

    /// Waits until the retired listeners are closed, but not for long. False when there are none.
    fn retired_are_closed(&self) -> bool {
        let end = Instant::now() + CLOSING;
        let retired = self.streams.split_last().map_or(&[][..], |(_, retired)| retired);
        for (_, closed) in retired {
            // Nothing is ever sent: only the end of the channel counts.
            _ = closed.recv_timeout(end.saturating_duration_since(Instant::now()));
        }
        !retired.is_empty()
    }
}

/// Binds the socket that clients send or connect to, unless pen still has it.
///
/// # Errors
/// See bind(2) and listen(2), with the address; or a name without an address.
pub(super) fn listener(
    endpoint: &Endpoint,
    settings: &Settings,
    used: &Used,
) -> Result<BoundListener, Error> {
    if !settings.udp {
        return listening(endpoint, settings, used);
    }
    let address = address(endpoint)?;
    match used.datagram(address) {
        Some(socket) => Ok(BoundListener::Datagrams(socket)),
        None => Ok(BoundListener::Datagrams(Arc::new(DatagramSocket::bind(address)?))),
    }
}

/// Whether [`listener`] could bind the socket. No client can connect meanwhile.
///
/// # Errors
/// See [`listener`].
pub(super) fn check(endpoint: &Endpoint, settings: &Settings, used: &Used) -> Result<(), Error> {
    if let Host::Unix(path) = &endpoint.host
        && !settings.udp
    {
        return Ok(listen::check_unix(Path::new(path))?);
    }
    let address = address(endpoint)?;
    if settings.udp {
        if used.datagram(address).is_none() {
            listen::bind_udp(address)?;
        }
    } else if used.stream(address).is_none() {
        used.after_retired(|| listen::check_tcp(address))?;
    }
    Ok(())
}

fn listening(endpoint: &Endpoint, settings: &Settings, used: &Used) -> Result<BoundListener, Error> {
    let backlog = backlog(settings);
    let (listener, closed) = match &endpoint.host {
        Host::Unix(path) => {
            let (listener, file) = listen::bind_unix(Path::new(path), None, backlog)?;
            Listener::unix(listener, file)
        }
        _ => {
            let address = address(endpoint)?;
            if let Some(open) = used.stream(address) {
                return Ok(BoundListener::Streams(open, None));
            }
            Listener::tcp(used.after_retired(|| listen::bind_tcp(address, backlog))?)
        }
    };
    Ok(BoundListener::Streams(Arc::new(listener), Some(closed)))
}

/// Binds the control socket.
///
/// # Errors
/// See [`listening`].
pub(super) fn control(endpoint: &Endpoint, settings: &Settings) -> Result<ControlSocket, Error> {
    let backlog = backlog(settings).max(CONTROL_BACKLOG);
    match &endpoint.host {
        Host::Unix(path) => {
            let (listener, file) = listen::bind_unix(Path::new(path), Some(CONTROL_MODE), backlog)?;
            Ok(ControlSocket::Unix(listener, file))
        }
        _ => Ok(ControlSocket::Tcp(listen::bind_tcp(address(endpoint)?, backlog)?)),
    }
}

/// Binds the admin listener, which is as private as the control socket: a port alone is bound to 127.0.0.1, since it
/// reveals all that pen knows about its clients.
///
/// # Errors
/// See [`listening`].
pub(super) fn admin(
    at: &ListenAddress,
    settings: &Settings,
) -> Result<(AdminListener, Option<SocketFile>), Error> {
    let local = Endpoint { host: Host::Ip(Ipv4Addr::LOCALHOST.into()), port: at.endpoint.port };
    let endpoint = if at.is_bare_port() { &local } else { &at.endpoint };
    Ok(match control(endpoint, settings)? {
        ControlSocket::Tcp(listener) => (AdminListener::Tcp(listener), None),
        ControlSocket::Unix(listener, file) => (AdminListener::Unix(listener), Some(file)),
    })
}
