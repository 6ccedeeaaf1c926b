//! A worker: a thread that accepts connections and serves those that it accepted to their end.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::io::unix::AsyncFd;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{Mutex, mpsc};

use crate::sys::listen::{self, SocketFile};
use crate::sys::log;

use super::connect::{self, SHORTAGE_PAUSE};
use super::session::{self, Accepted};
use super::shared::Shared;
use super::tls;

/// The listening socket. All workers wait on this one socket: a second pen on the port
/// fails to bind, and a worker that pauses strands nobody, since the others take from the same queue.
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
            Listening::Tcp(_) => TcpStream::from_std(socket.into())?.into(),
            Listening::Unix(..) => UnixStream::from_std(socket.into())?.into(),
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

/// Starts a worker.
///
/// # Errors
/// When the system gives no thread or no event port.
pub fn start(
    number: usize,
    shared: Arc<Shared>,
    listening: Arc<Listening>,
    sockets: Sockets,
) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name(format!("worker {number}")).spawn(move || {
        tls::this_is_worker(number);
        // As a task of its own: waking the future that a runtime blocks on costs a system call. A panic in it has been
        // logged; the worker goes on, for the sake of its connections and of those that wait.
        let place = Arc::new(Mutex::new(Place { sockets, listening }));
        while runtime.block_on(runtime.spawn(work(Arc::clone(&shared), Arc::clone(&place)))).is_err() {
            runtime.block_on(tokio::time::sleep(SHORTAGE_PAUSE));
        }
        // Connections end with the runtime.
    })
}

async fn work(shared: Arc<Shared>, place: Arc<Mutex<Place>>) {
    let mut place = place.lock().await;
    loop {
        let listening = Arc::clone(&place.listening);
        let left = match listen::watch(&*listening) {
            Ok(queue) => tokio::select! {
                left = place.next() => left,
                () = accept_all(&shared, &listening, &queue) => continue,
            },
            Err(error) => {
                log::error(format_args!("a worker cannot listen: {error}"));
                match tokio::time::timeout(SHORTAGE_PAUSE, place.next()).await {
                    Ok(left) => left,
                    Err(_) => continue,
                }
            }
        };
        let Some(left) = left else { return };
        // Beside the rest: while pen is full it takes long, and the end of pen or a further move is not to wait for it.
        tokio::spawn(drain(Arc::clone(&shared), left));
    }
}

/// Serves those who stand in the queue of an address that pen leaves.
async fn drain(shared: Arc<Shared>, listening: Arc<Listening>) {
    loop {
        let ticket = shared.registry.ticket(|| shared.snapshot.load().conn_max).await;
        match listening.accept_queued() {
            Ok(accepted) => session::start(&shared, accepted, ticket),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) if connect::is_shortage(&error) => {
                drop(ticket);
                _ = tokio::time::timeout(SHORTAGE_PAUSE, shared.registry.freed()).await;
            }
            // That client is gone already.
            Err(_) => {}
        }
    }
}

/// Accepts for as long as it is let.
///
/// Room is taken when somebody waits and not before: a worker that waits for clients must not keep the others from
/// serving theirs.
async fn accept_all(shared: &Arc<Shared>, listening: &Listening, queue: &AsyncFd<OwnedFd>) {
    static FULL: log::Condition = log::Condition::new();
    let mut batch = 0;
    loop {
        let mut waiting = match queue.readable().await {
            Ok(waiting) => waiting,
            Err(error) => return log::error(format_args!("a worker listens no longer: {error}")),
        };
        let ticket = shared.registry.ticket(|| shared.snapshot.load().conn_max).await;
        // Another worker may have been faster: then there is nothing, and the next wait is for the next client.
        let Ok(accepted) = waiting.try_io(|_| listening.accept_queued()) else { continue };
        match accepted {
            Ok(accepted) => {
                FULL.end(format_args!("accepting connections again"));
                session::start(shared, accepted, ticket);
                batch += 1;
                if batch >= shared.snapshot.load().multi_accept {
                    batch = 0;
                    tokio::task::yield_now().await;
                }
            }
            Err(error) if connect::is_shortage(&error) => {
                FULL.begin(format_args!("no new connections for now: {error}"));
                drop(ticket);
                _ = tokio::time::timeout(SHORTAGE_PAUSE, shared.registry.freed()).await;
            }
            // The client is gone already, as accept(2) says; the next one may be there.
            Err(error) => {
                log::debug(1, format_args!("accept: {error}"));
                tokio::task::yield_now().await;
            }
        }
    }
}
