//! The listening socket, and how pen stops listening on it without resetting a client.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, Sender};

use crate::core::admission;
use crate::core::affinity::Client;
use crate::sys::listen::{self, SocketFile};

use super::client_name::ClientName;
use super::held_clients;
use super::session::Accepted;
use super::shared::Shared;
use super::socket::Socket;

/// The listening socket. All workers share it: a second pen on the port fails to bind, and a worker that pauses leaves
/// no clients in a separate queue.
#[derive(Debug)]
pub struct Listener {
    socket: ListeningSocket,
    /// The system drops new connections; the queue may still grow by those whose handshake has begun.
    retired: AtomicBool,
    /// Dropped after the socket is closed: fields are dropped in order.
    _open: Sender<()>,
}

#[derive(Debug)]
enum ListeningSocket {
    /// On an IP address.
    Tcp(TcpListener),
    /// The file of the socket, which is removed before the socket is closed, and the socket.
    Unix(SocketFile, UnixListener),
}

/// A channel that is disconnected once a listener is closed.
pub type Closed = Receiver<()>;

impl Listener {
    /// A listener on an IP address, and a channel that reports when it is closed.
    pub fn tcp(listener: TcpListener) -> (Self, Closed) {
        Self::new(ListeningSocket::Tcp(listener))
    }

    /// The same on a path.
    pub fn unix(listener: UnixListener, file: SocketFile) -> (Self, Closed) {
        Self::new(ListeningSocket::Unix(file, listener))
    }

    fn new(socket: ListeningSocket) -> (Self, Closed) {
        let (open, closed) = mpsc::channel();
        (Listener { socket, retired: AtomicBool::new(false), _open: open }, closed)
    }

    /// Its IP address.
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.socket {
            ListeningSocket::Tcp(listener) => listener.local_addr().ok(),
            ListeningSocket::Unix(..) => None,
        }
    }

    /// Prevents new connections, as far as the system can. Clients in the queue, or whose handshake has begun, would be
    /// reset if the socket were closed before they are accepted.
    pub fn retire(&self) {
        let retired = match &self.socket {
            ListeningSocket::Tcp(listener) => listen::drop_new_connections(listener),
            ListeningSocket::Unix(file, _) => {
                file.remove();
                // A client that has opened the file is in the queue at once: there are no clients in transit.
                false
            }
        };
        self.retired.store(retired, Relaxed);
    }

    /// Undoes [`Listener::retire`] for an IP address; a path is bound again instead.
    pub fn reactivate(&self) {
        if let ListeningSocket::Tcp(listener) = &self.socket
            && self.retired.swap(false, Relaxed)
        {
            listen::take_new_connections(listener);
        }
    }

    /// Whether new connections are dropped while clients may still be added to the queue.
    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Relaxed)
    }

    /// Accepts one client from the queue; `None` for one that is held instead of being served.
    ///
    /// # Errors
    /// `WouldBlock` when there is none; otherwise see accept(2).
    pub(super) fn accept_queued(&self, shared: &Shared) -> io::Result<Option<Accepted>> {
        let (socket, peer) = listen::accept(self)?;
        let snapshot = shared.snapshot.load();
        let client = peer.map(|peer| Client::new(peer.ip()));
        if let Some(client) = client
            && admission::is_held(&snapshot, client)
        {
            let name = ClientName { client, port: peer.map(|peer| peer.port()) };
            held_clients::hold(shared, socket, name);
            return Ok(None);
        }
        let stream = match &self.socket {
            // Some systems report no address for a client that has already gone; it must not be taken for a Unix
            // client.
            ListeningSocket::Tcp(_) if peer.is_none() => return Err(io::ErrorKind::ConnectionAborted.into()),
            ListeningSocket::Tcp(_) => Socket::tcp(socket)?.into(),
            ListeningSocket::Unix(..) => Socket::unix(socket)?.into(),
        };
        Ok(Some(Accepted { stream, peer }))
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            ListeningSocket::Tcp(listener) => listener.as_fd(),
            ListeningSocket::Unix(_, listener) => listener.as_fd(),
        }
    }
}
