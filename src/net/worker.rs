//! A worker: a thread that accepts connections and serves them until they end.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::Interest;
use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;

use crate::core::Millis;
use crate::core::error::SystemReason;
use crate::sys::watch::{self, Watch};
use crate::sys::{listen, log, runtime, socket};

use super::accept_token::TokenHandle;
use super::connect::shortage::SHORTAGE_PAUSE;
use super::connections::Permit;
use super::lifecycle::LifeStage;
use super::listener::Listener;
use super::session::{self, Accepted};
use super::shared::Shared;
use super::tls;
use crate::sys::error::is_shortage;

/// The sockets on which a worker is to listen, one after the other. It receives all of them, since it serves the
/// clients that are left in the queue of each retired socket.
pub type ListenerReceiver = mpsc::UnboundedReceiver<Arc<Listener>>;

/// The listener that a worker accepts from, and the next ones.
struct ActiveListener {
    sockets: ListenerReceiver,
    /// `None` when the worker accepts no more clients.
    listening: Option<Arc<Listener>>,
}

impl ActiveListener {
    /// Waits for the next listener; returns the one that it replaces.
    async fn next(&mut self) -> Option<Arc<Listener>> {
        match self.sockets.recv().await {
            Some(next) => self.listening.replace(next),
            // The sender is gone: there will be no other listener.
            None => std::future::pending().await,
        }
    }
}

/// Starts the worker of `handle`; on return it listens.
///
/// # Errors
/// The system cannot create a thread or an event port, or cannot watch the listening socket.
pub fn start(
    number: usize,
    shared: Arc<Shared>,
    handle: TokenHandle,
    listening: Arc<Listener>,
    sockets: ListenerReceiver,
) -> io::Result<JoinHandle<()>> {
    let watched = Arc::clone(&listening);
    let together = shared.snapshot.load().batch;
    let begin = move || {
        tls::this_is_worker(number);
        socket::prepare(together)?;
        watch::can_watch(&*watched)
    };
    runtime::start_thread(format!("worker {number}"), begin, move |runtime| {
        // In a separate task: waking the future that a runtime blocks on costs a system call. A panic in it has been
        // logged; the worker continues, for its connections and those that wait.
        let worker = Worker { shared, handle };
        let listener = Arc::new(Mutex::new(ActiveListener { sockets, listening: Some(listening) }));
        while runtime.block_on(runtime.spawn(worker.clone().work(Arc::clone(&listener)))).is_err() {
            runtime.block_on(tokio::time::sleep(SHORTAGE_PAUSE));
        }
        runtime.block_on(worker.finish());
        // The remaining connections are dropped with the runtime.
    })
}

#[derive(Clone)]
struct Worker {
    shared: Arc<Shared>,
    handle: TokenHandle,
}

/// How long a worker waits at its end for its connections, which end within little more than a second.
const LAST: Duration = Duration::from_secs(2);
/// How long a worker waits for room before it looks for silent connections again, in milliseconds.
const ROOM_PAUSE: Millis = 1_000;
/// The maximum number of clients that are accepted from the queue of a socket before it is closed.
const LAST_CLIENTS: usize = 4096;
/// How long a retired listener stays open for clients whose handshake has begun: at least a round trip.
const IN_FLIGHT: Duration = Duration::from_millis(200);
/// How often its queue is checked in that time.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

impl Worker {
    /// The life of a worker: it accepts and serves clients, then serves the present ones, and ends.
    async fn work(self, listener: Arc<Mutex<ActiveListener>>) {
        let mut listener = listener.lock().await;
        self.accept(&mut listener).await;
        if let Some(listening) = listener.listening.take()
            && self.shared.lifecycle.stage() == LifeStage::Drain
        {
            tokio::select! {
                () = self.accept_last(&listening) => {}
                () = self.shared.lifecycle.reaches(LifeStage::End) => {}
            }
        }
        self.shared.lifecycle.reaches(LifeStage::End).await;
    }

    /// Waits for its connections, which are told to end.
    async fn finish(&self) {
        let done = self.shared.connections.until(|| self.handle.connections() == 0);
        _ = tokio::time::timeout(LAST, done).await;
    }

    /// Accepts clients until pen accepts no more.
    async fn accept(&self, listener: &mut ActiveListener) {
        while let Some(listening) = listener.listening.clone() {
            let left = tokio::select! {
                () = self.shared.lifecycle.reaches(LifeStage::Drain) => return,
                left = listener.next() => left,
                Err(error) = self.accept_with_token(&listening) => {
                    log::error(format_args!("a worker cannot listen: {}", SystemReason(&error)));
                    self.handle.pass();
                    match tokio::time::timeout(SHORTAGE_PAUSE, listener.next()).await {
                        Ok(left) => left,
                        Err(_) => continue,
                    }
                }
            };
            if let Some(left) = left {
                // In a separate task: while pen is full it takes long, and neither the end of pen nor the next change
                // of the listener must wait for it.
                tokio::spawn(self.clone().serve_queue(left));
            }
        }
    }

    /// Accepts the clients in the queue of a socket that is about to be closed, as far as there is room: they connected
    /// while pen still accepted clients.
    async fn accept_last(&self, listening: &Listener) {
        let end = Instant::now() + IN_FLIGHT;
        self.accept_all(listening);
        while more_may_come(listening, end).await {
            self.accept_all(listening);
        }
    }

    /// Accepts the clients in the queue, as far as there is room.
    fn accept_all(&self, listening: &Listener) {
        for _ in 0..LAST_CLIENTS {
            let limit = self.shared.snapshot.load().conn_max;
            let Some(permit) = self.shared.connections.try_permit(limit) else { return };
            match listening.accept_queued(&self.shared) {
                Ok(Some(accepted)) => self.serve(accepted, permit),
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock || is_shortage(&error) => {
                    return;
                }
                // The client has closed its connection already.
                Err(_) => {}
            }
        }
    }

    fn serve(&self, accepted: Accepted, permit: Permit) {
        session::start(&self.shared, accepted, permit, self.handle.count_connection());
    }

    /// Waits for a permit for a client in the queue; `None` if there is no permit and no client waits. To make room for
    /// the client, the oldest connection that has carried no byte is closed.
    async fn permit(&self, listening: &Listener) -> Option<Permit> {
        static FULL: log::Condition = log::Condition::new();
        let connections = &self.shared.connections;
        // A client that is in gets the next descriptor: another one would only wait for a further one.
        while self.shared.shortage.waiting() > 0 {
            self.pause().await;
        }
        let limit = || self.shared.snapshot.load().conn_max;
        if let Some(permit) = connections.try_permit(limit()) {
            FULL.end(format_args!("there is room for further connections again"));
            return Some(permit);
        }
        // Another worker may accept the client meanwhile.
        while listen::has_queued(listening) {
            FULL.begin(format_args!(
                "there are {} connections, as many as conn_max allows: clients wait",
                limit()
            ));
            let time = connections.make_room(self.shared.now()).unwrap_or(ROOM_PAUSE);
            let permit = connections.permit(limit);
            if let Ok(permit) = tokio::time::timeout(Duration::from_millis(time), permit).await {
                return Some(permit);
            }
        }
        None
    }

    /// Waits until a connection has ended, when the system has no descriptors or memory for another one.
    async fn pause(&self) {
        _ = tokio::time::timeout(SHORTAGE_PAUSE, self.shared.connections.freed()).await;
    }

    /// Serves the clients in the queue of a retired listener.
    async fn serve_queue(self, listening: Arc<Listener>) {
        let end = Instant::now() + IN_FLIGHT;
        loop {
            let permit = tokio::select! {
                permit = self.permit(&listening) => permit,
                () = self.shared.lifecycle.reaches(LifeStage::Drain) => {
                    return self.accept_last(&listening).await;
                }
            };
            let Some(permit) = permit else {
                if !more_may_come(&listening, end).await {
                    return;
                }
                continue;
            };
            match listening.accept_queued(&self.shared) {
                Ok(Some(accepted)) => self.serve(accepted, permit),
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    drop(permit);
                    if !more_may_come(&listening, end).await {
                        return;
                    }
                }
                Err(error) if is_shortage(&error) => {
                    drop(permit);
                    self.pause().await;
                }
                // The client has closed its connection already.
                Err(_) => {}
            }
        }
    }

    /// Accepts whenever this worker holds the token.
    ///
    /// # Errors
    /// The socket cannot be watched.
    async fn accept_with_token(&self, listening: &Listener) -> io::Result<Infallible> {
        let socket = watch::duplicate(listening)?;
        loop {
            self.handle.acquired().await;
            // A new watch reports at once that clients are waiting.
            let queue = Watch::shared(&socket, Interest::READABLE)?;
            self.accept_until_passed(listening, &queue).await?;
        }
    }

    /// Accepts until the token is passed on.
    ///
    /// Takes a permit only once a client is waiting: an unused permit would keep another worker's client out.
    async fn accept_until_passed(&self, listening: &Listener, queue: &Watch) -> io::Result<()> {
        static SHORT: log::Condition = log::Condition::new();
        let mut batch = 0;
        let Some(mut quota) = self.handle.quota() else { return Ok(()) };
        loop {
            queue.readable().await?;
            let Some(permit) = self.permit(listening).await else {
                // The client that was reported has been accepted: nothing is reported again before the next one comes.
                let look = || {
                    if listen::has_queued(listening) { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
                };
                if queue.try_io(Interest::READABLE, look).is_ok() {
                    tokio::task::yield_now().await;
                }
                continue;
            };
            match queue.try_io(Interest::READABLE, || listening.accept_queued(&self.shared)) {
                Ok(accepted) => {
                    SHORT.end(format_args!("accepting connections again"));
                    if let Some(accepted) = accepted {
                        self.serve(accepted, permit);
                    }
                    quota = quota.saturating_sub(1);
                    if quota == 0 {
                        match self.handle.quota() {
                            Some(more) => quota = more,
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
                    SHORT.begin(format_args!("no new connections for now: {}", SystemReason(&error)));
                    drop(permit);
                    self.pause().await;
                }
                // The client has already gone, see accept(2); there may be another one.
                Err(error) => {
                    log::debug(1, format_args!("accept: {error}"));
                    tokio::task::yield_now().await;
                }
            }
        }
    }
}

/// Waits a moment for clients whose handshake with a retired listener has begun. False when it is time to close it.
async fn more_may_come(listening: &Listener, end: Instant) -> bool {
    if !listening.is_retired() || Instant::now() >= end {
        return false;
    }
    tokio::time::sleep(LOOK_INTERVAL).await;
    true
}
