//! A worker: a thread that accepts connections and serves those that it accepted to their end.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::Interest;
use tokio::sync::{Mutex, mpsc};

use crate::core::Millis;
use crate::sys::listen::{self, SocketFile};
use crate::sys::watch::{self, Watch};
use crate::sys::{log, runtime, socket};

use super::accept_token::TokenHandle;
use super::connect::SHORTAGE_PAUSE;
use super::connect::failure::is_shortage;
use super::connections::Permit;
use super::lifecycle::LifeStage;
use super::session::{self, Accepted};
use super::shared::Shared;
use super::socket::Socket;
use super::tls;

/// The listening socket. All workers take from this one socket: a second pen on the port fails to bind, and nobody stands
/// in a queue of a worker's own, stranded when that one pauses.
#[derive(Debug)]
pub enum Listener {
    /// On an IP address.
    Tcp(TcpListener),
    /// On a path, and the file that stands for it.
    Unix(UnixListener, SocketFile),
}

impl Listener {
    /// Takes one client out of the queue.
    ///
    /// # Errors
    /// `WouldBlock` when there is none; else as accept(2).
    fn accept_queued(&self) -> io::Result<Accepted> {
        let (socket, peer) = listen::accept(self)?;
        let stream = match self {
            // Some systems know no address of a client that has gone already; none must not pass for a Unix client.
            Listener::Tcp(_) if peer.is_none() => return Err(io::ErrorKind::ConnectionAborted.into()),
            Listener::Tcp(_) => Socket::tcp(socket)?.into(),
            Listener::Unix(..) => Socket::unix(socket)?.into(),
        };
        Ok(Accepted { stream, peer })
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Listener::Tcp(listener) => listener.as_fd(),
            Listener::Unix(listener, _) => listener.as_fd(),
        }
    }
}

/// The sockets that a worker is told to listen on, one after the other. It gets every one of them, since it has to serve the
/// queue of each that pen leaves.
pub type Sockets = mpsc::UnboundedReceiver<Arc<Listener>>;

/// Where a worker is in its sockets.
struct Place {
    sockets: Sockets,
    /// None when it takes no more clients.
    listening: Option<Arc<Listener>>,
}

impl Place {
    /// Waits for the next socket; returns the one that is left.
    async fn next(&mut self) -> Option<Arc<Listener>> {
        match self.sockets.recv().await {
            Some(next) => self.listening.replace(next),
            // Nobody is left to name another one.
            None => std::future::pending().await,
        }
    }
}

/// Starts the worker that has `handle` among all, which then listens.
///
/// # Errors
/// When the system gives no thread or no event port, or nothing to watch the listening socket with.
pub fn start(
    number: usize,
    shared: Arc<Shared>,
    handle: TokenHandle,
    listening: Arc<Listener>,
    sockets: Sockets,
) -> io::Result<JoinHandle<()>> {
    let watched = Arc::clone(&listening);
    let begin = move || {
        tls::this_is_worker(number);
        socket::prepare()?;
        watch::can_watch(&*watched)
    };
    runtime::start_thread(format!("worker {number}"), begin, move |runtime| {
        // As a task of its own: waking the future that a runtime blocks on costs a system call. A panic in it has been
        // logged; the worker goes on, for the sake of its connections and of those that wait.
        let worker = Worker { shared, handle };
        let place = Arc::new(Mutex::new(Place { sockets, listening: Some(listening) }));
        while runtime.block_on(runtime.spawn(worker.clone().work(Arc::clone(&place)))).is_err() {
            runtime.block_on(tokio::time::sleep(SHORTAGE_PAUSE));
        }
        runtime.block_on(worker.finish());
        // What is left ends with the runtime.
    })
}

#[derive(Clone)]
struct Worker {
    shared: Arc<Shared>,
    handle: TokenHandle,
}

/// How long a worker that ends waits for its connections: they take little more than a second.
const LAST: Duration = Duration::from_secs(2);
/// How long a worker waits for room before it looks for silent connections again, in milliseconds.
const ROOM_PAUSE: Millis = 1_000;
/// Clients that are taken out of the queue of a socket that is closed.
const LAST_CLIENTS: usize = 4096;

impl Worker {
    /// The life of a worker: it accepts and serves clients, serves those that it has, and ends.
    async fn work(self, place: Arc<Mutex<Place>>) {
        let mut place = place.lock().await;
        self.accept(&mut place).await;
        if let Some(listening) = place.listening.take()
            && self.shared.lifecycle.stage() == LifeStage::Drain
        {
            self.accept_last(&listening);
        }
        self.shared.lifecycle.reaches(LifeStage::End).await;
    }

    /// Lets its connections, which are told to end, do so.
    async fn finish(&self) {
        let done = self.shared.connections.until(|| self.handle.connections() == 0);
        _ = tokio::time::timeout(LAST, done).await;
    }

    /// Takes clients until pen takes no more.
    async fn accept(&self, place: &mut Place) {
        while let Some(listening) = place.listening.clone() {
            let left = tokio::select! {
                () = self.shared.lifecycle.reaches(LifeStage::Drain) => return,
                left = place.next() => left,
                Err(error) = self.accept_in_turn(&listening) => {
                    log::error(format_args!("a worker cannot listen: {error}"));
                    self.handle.pass();
                    match tokio::time::timeout(SHORTAGE_PAUSE, place.next()).await {
                        Ok(left) => left,
                        Err(_) => continue,
                    }
                }
            };
            if let Some(left) = left {
                // Beside the rest: while pen is full it takes long, and neither the end of pen nor a further move waits for it.
                tokio::spawn(self.clone().serve_queue(left));
            }
        }
    }

    /// Takes those who stand in the queue of a socket that is about to be closed, as far as there is room for them: they have
    /// connected before.
    fn accept_last(&self, listening: &Listener) {
        for _ in 0..LAST_CLIENTS {
            let limit = self.shared.snapshot.load().conn_max;
            let Some(permit) = self.shared.connections.try_permit(limit) else { return };
            match listening.accept_queued() {
                Ok(accepted) => self.serve(accepted, permit),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock || is_shortage(&error) => {
                    return;
                }
                // That client is gone already.
                Err(_) => {}
            }
        }
    }

    fn serve(&self, accepted: Accepted, permit: Permit) {
        session::start(&self.shared, accepted, permit, self.handle.count_connection());
    }

    /// Waits for room for one more connection. To be called when a client waits: connections that have carried nothing yet
    /// make room for it.
    async fn permit(&self) -> Permit {
        static FULL: log::Condition = log::Condition::new();
        let connections = &self.shared.connections;
        let limit = || self.shared.snapshot.load().conn_max;
        if let Some(permit) = connections.try_permit(limit()) {
            FULL.end(format_args!("there is room for further connections again"));
            return permit;
        }
        FULL.begin(format_args!(
            "there are {} connections, as many as conn_max allows: clients wait",
            limit()
        ));
        loop {
            let time = connections.make_room(self.shared.now()).unwrap_or(ROOM_PAUSE);
            let permit = connections.permit(limit);
            if let Ok(permit) = tokio::time::timeout(Duration::from_millis(time), permit).await {
                return permit;
            }
        }
    }

    /// Waits, when the system has no descriptors or memory for one more client, until a connection has ended.
    async fn pause(&self) {
        _ = tokio::time::timeout(SHORTAGE_PAUSE, self.shared.connections.freed()).await;
    }

    /// Serves those who stand in the queue of an address that pen leaves.
    async fn serve_queue(self, listening: Arc<Listener>) {
        loop {
            let permit = tokio::select! {
                permit = self.permit() => permit,
                () = self.shared.lifecycle.reaches(LifeStage::Drain) => return self.accept_last(&listening),
            };
            match listening.accept_queued() {
                Ok(accepted) => self.serve(accepted, permit),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if is_shortage(&error) => {
                    drop(permit);
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
    async fn accept_in_turn(&self, listening: &Listener) -> io::Result<Infallible> {
        let socket = watch::duplicate(listening)?;
        loop {
            self.handle.acquired().await;
            // Where clients wait already, the new watch tells so at once.
            let queue = Watch::shared(&socket, Interest::READABLE)?;
            self.accept_until_passed(listening, &queue).await?;
        }
    }

    /// Accepts until it is another worker's turn.
    ///
    /// Room is taken when somebody waits and not before: pen is full of those whom it serves.
    async fn accept_until_passed(&self, listening: &Listener, queue: &Watch) -> io::Result<()> {
        static FULL: log::Condition = log::Condition::new();
        let mut batch = 0;
        let Some(mut limit) = self.handle.limit() else { return Ok(()) };
        loop {
            queue.readable().await?;
            let permit = self.permit().await;
            match queue.try_io(Interest::READABLE, || listening.accept_queued()) {
                Ok(accepted) => {
                    FULL.end(format_args!("accepting connections again"));
                    self.serve(accepted, permit);
                    if self.handle.connections() >= limit {
                        match self.handle.limit() {
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
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if is_shortage(&error) => {
                    FULL.begin(format_args!("no new connections for now: {error}"));
                    drop(permit);
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
