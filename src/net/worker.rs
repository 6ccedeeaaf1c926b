//! A worker: a thread that accepts connections and serves those that it accepted to their end.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::{Mutex, mpsc};

use crate::sys::listen::{self, SocketFile, Watch};
use crate::sys::{log, socket};

use super::connect::{self, SHORTAGE_PAUSE};
use super::registry::Ticket;
use super::session::{self, Accepted};
use super::shared::Shared;
use super::socket::Socket;
use super::tls;
use super::turns::Seat;

/// The listening socket. All workers take from this one socket: a second pen on the port fails to bind, and nobody stands
/// in a queue of a worker's own, stranded when that one pauses.
#[derive(Debug)]
pub enum Listening {
    /// On an IP address.
    Tcp(TcpListener),
    /// On a path, and the file that stands for it.
    Unix(UnixListener, SocketFile),
}

impl Listening {
    /// Takes one client out of the queue.
    ///
    /// # Errors
    /// `WouldBlock` when there is none; else as accept(2).
    fn accept_queued(&self) -> io::Result<Accepted> {
        let (socket, peer) = listen::accept(self)?;
        let stream = match self {
            // Some systems know no address of a client that has gone already; none must not pass for a Unix client.
            Listening::Tcp(_) if peer.is_none() => return Err(io::ErrorKind::ConnectionAborted.into()),
            Listening::Tcp(_) => Socket::tcp(socket)?.into(),
            Listening::Unix(..) => Socket::unix(socket)?.into(),
        };
        Ok(Accepted { stream, peer })
    }
}

impl AsFd for Listening {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Listening::Tcp(listener) => listener.as_fd(),
            Listening::Unix(listener, _) => listener.as_fd(),
        }
    }
}

/// The sockets that a worker is told to listen on, one after the other; closed when it is to end. It gets every one of them,
/// since it has to serve the queue of each that pen leaves.
pub type Sockets = mpsc::UnboundedReceiver<Arc<Listening>>;

/// Where a worker is in its sockets.
struct Place {
    sockets: Sockets,
    listening: Arc<Listening>,
}

impl Place {
    /// Waits for the next socket; returns the one that is left, or `None` at the end of pen.
    async fn next(&mut self) -> Option<Arc<Listening>> {
        let next = self.sockets.recv().await?;
        Some(std::mem::replace(&mut self.listening, next))
    }
}

/// Starts the worker that has `seat` among all.
///
/// # Errors
/// When the system gives no thread or no event port.
pub fn start(
    number: usize,
    shared: Arc<Shared>,
    seat: Seat,
    listening: Arc<Listening>,
    sockets: Sockets,
) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name(format!("worker {number}")).spawn(move || {
        tls::this_is_worker(number);
        if let Err(error) = runtime.block_on(async { socket::prepare() }) {
            // The first connection needs it, and tries again.
            log::warn(format_args!("worker {number} has no event port: {error}"));
        }
        // As a task of its own: waking the future that a runtime blocks on costs a system call. A panic in it has been
        // logged; the worker goes on, for the sake of its connections and of those that wait.
        let worker = Worker { shared, seat };
        let place = Arc::new(Mutex::new(Place { sockets, listening }));
        while runtime.block_on(runtime.spawn(worker.clone().work(Arc::clone(&place)))).is_err() {
            runtime.block_on(tokio::time::sleep(SHORTAGE_PAUSE));
        }
        // Connections end with the runtime.
    })
}

#[derive(Clone)]
struct Worker {
    shared: Arc<Shared>,
    seat: Seat,
}

impl Worker {
    async fn work(self, place: Arc<Mutex<Place>>) {
        let mut place = place.lock().await;
        loop {
            let listening = Arc::clone(&place.listening);
            let left = tokio::select! {
                left = place.next() => left,
                Err(error) = self.accept_in_turn(&listening) => {
                    log::error(format_args!("a worker cannot listen: {error}"));
                    self.seat.pass();
                    match tokio::time::timeout(SHORTAGE_PAUSE, place.next()).await {
                        Ok(left) => left,
                        Err(_) => continue,
                    }
                }
            };
            let Some(left) = left else { return };
            // Beside the rest: while pen is full it takes long, and the end of pen or a further move is not to wait for it.
            tokio::spawn(self.clone().drain(left));
        }
    }

    fn serve(&self, accepted: Accepted, ticket: Ticket) {
        session::start(&self.shared, accepted, ticket, self.seat.take_on());
    }

    async fn ticket(&self) -> Ticket {
        self.shared.registry.ticket(|| self.shared.snapshot.load().conn_max).await
    }

    /// Waits, when the system has no descriptors or memory for one more client, until a connection has ended.
    async fn pause(&self) {
        _ = tokio::time::timeout(SHORTAGE_PAUSE, self.shared.registry.freed()).await;
    }

    /// Serves those who stand in the queue of an address that pen leaves.
    async fn drain(self, listening: Arc<Listening>) {
        loop {
            let ticket = self.ticket().await;
            match listening.accept_queued() {
                Ok(accepted) => self.serve(accepted, ticket),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if connect::is_shortage(&error) => {
                    drop(ticket);
                    self.pause().await;
                }
                // That client is gone already.
                Err(_) => {}
            }
        }
    }

    /// Accepts whenever it is this worker's turn.
    ///
    /// # Errors
    /// It cannot watch the socket.
    async fn accept_in_turn(&self, listening: &Listening) -> io::Result<Infallible> {
        let socket = listen::duplicate(listening)?;
        loop {
            self.seat.turn().await;
            // Where clients wait already, the new watch tells so at once.
            let queue = listen::watch(&socket)?;
            self.accept_until_passed(listening, &queue).await?;
        }
    }

    /// Accepts until it is another worker's turn.
    ///
    /// Room is taken when somebody waits and not before: pen is full of those whom it serves.
    async fn accept_until_passed(&self, listening: &Listening, queue: &Watch) -> io::Result<()> {
        static FULL: log::Condition = log::Condition::new();
        let mut batch = 0;
        let Some(mut limit) = self.seat.limit() else { return Ok(()) };
        loop {
            let mut waiting = queue.readable().await?;
            let ticket = self.ticket().await;
            let Ok(accepted) = waiting.try_io(|_| listening.accept_queued()) else { continue };
            match accepted {
                Ok(accepted) => {
                    FULL.end(format_args!("accepting connections again"));
                    self.serve(accepted, ticket);
                    if self.seat.connections() >= limit {
                        match self.seat.limit() {
                            Some(more) => limit = more,
                            None => return Ok(()),
                        }
                    }
                    batch += 1;
                    if batch >= self.shared.snapshot.load().multi_accept {
                        batch = 0;
                        tokio::task::yield_now().await;
                    }
                }
                Err(error) if connect::is_shortage(&error) => {
                    FULL.begin(format_args!("no new connections for now: {error}"));
                    drop(ticket);
                    self.pause().await;
                }
                // The client is gone already, as accept(2) says; the next one may be there.
                Err(error) => {
                    log::debug(1, format_args!("accept: {error}"));
                    tokio::task::yield_now().await;
                }
            }
        }
    }
}
