//! Clients that `tarpit_acl` denies: their connections are held, and nothing is sent to them.
//!
//! Each connection costs a descriptor and the memory of a socket in the system; it does not count towards `conn_max`. No task waits
//! for its events: a task of the main thread checks once a second which clients have gone.

use std::mem;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use socket2::SockRef;
use tokio::sync::Notify;

use crate::core::admission;
use crate::core::error::SystemReason;
use crate::core::snapshot::Snapshot;
use crate::sys::{hangup, log};

use super::client_name::ClientName;
use super::lifecycle::{LifeStage, Lifecycle};

/// How often pen checks which clients have gone.
const LOOK: Duration = Duration::from_secs(1);
/// How many connections are checked before other tasks of the thread run.
const PIECE: usize = 512;
/// The requested size of the receive buffer, which nothing reads; the system rounds it up to its minimum.
const ROOM: usize = 1;

/// The connections that are held.
#[derive(Debug, Default)]
pub struct Tarpit {
    held: Mutex<HeldConnections>,
    count: AtomicUsize,
    accepted: AtomicU64,
    refused: AtomicU64,
    first: Notify,
}

#[derive(Debug, Default)]
struct HeldConnections {
    clients: Vec<HeldClient>,
    /// Pen takes no more clients.
    ended: bool,
}

/// A client that is held.
#[derive(Debug)]
struct HeldClient {
    socket: OwnedFd,
    name: ClientName,
    /// The address that pen listened on.
    listener: Arc<String>,
    since: Instant,
}

impl AsFd for HeldClient {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Called for each released client, with the address that pen listened on and the time that it was held.
type LetGo<'a> = dyn Fn(ClientName, &str, Duration) + 'a;

fn let_go(clients: &[HeldClient], tell: &LetGo<'_>) {
    clients.iter().for_each(|client| tell(client.name, &client.listener, client.since.elapsed()));
}

impl Tarpit {
    /// The number of held connections.
    pub fn count(&self) -> usize {
        self.count.load(Relaxed)
    }

    /// The number of connections held so far.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Relaxed)
    }

    /// The number of connections closed at once because the limit was reached.
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// Holds the connection of a client, if there are fewer than `limit`; else it is closed. Returns whether it is held.
    pub(super) fn hold(
        &self,
        socket: OwnedFd,
        name: ClientName,
        listener: &Arc<String>,
        limit: usize,
    ) -> bool {
        static FULL: log::Condition = log::Condition::new();
        if self.count.fetch_update(Relaxed, Relaxed, |count| (count < limit).then(|| count + 1)).is_err() {
            self.refused.fetch_add(1, Relaxed);
            FULL.begin(format_args!(
                "tarpit_acl: {limit} connections are held, for which there are descriptors: others are closed"
            ));
            return false;
        }
        FULL.end(format_args!("tarpit_acl: there is room for further connections"));
        self.accepted.fetch_add(1, Relaxed);
        let options = SockRef::from(&socket);
        // So that a client whose machine has gone is not held for ever. Both fail only where the client has gone already.
        _ = options.set_keepalive(true);
        _ = options.set_recv_buffer_size(ROOM);
        let mut held = self.held.lock();
        if held.ended {
            self.count.fetch_sub(1, Relaxed);
            return false;
        }
        held.clients.push(HeldClient { socket, name, listener: Arc::clone(listener), since: Instant::now() });
        self.first.notify_one();
        true
    }

    /// Releases connections whose clients have gone or are no longer to be held, until pen takes no more clients.
    pub(super) async fn run(
        &self,
        lifecycle: &Lifecycle,
        snapshot: &ArcSwap<Snapshot>,
        tell: impl Fn(ClientName, &str, Duration),
    ) {
        let look = async {
            loop {
                if self.count() == 0 {
                    self.first.notified().await;
                }
                tokio::time::sleep(LOOK).await;
                self.look(snapshot, &tell).await;
            }
        };
        tokio::select! {
            () = look => {}
            () = lifecycle.reaches(LifeStage::Drain) => {}
        }
        self.end(&tell);
    }

    /// Releases all connections; further ones are closed.
    pub(super) fn end(&self, tell: &LetGo<'_>) {
        let clients = {
            let mut held = self.held.lock();
            held.ended = true;
            mem::take(&mut held.clients)
        };
        self.count.fetch_sub(clients.len(), Relaxed);
        let_go(&clients, tell);
    }

    async fn look(&self, snapshot: &ArcSwap<Snapshot>, tell: &LetGo<'_>) {
        let mut left = self.held.lock().clients.len();
        while left > 0 {
            let mut piece: Vec<HeldClient> = {
                let mut held = self.held.lock();
                let count = PIECE.min(left).min(held.clients.len());
                held.clients.drain(..count).collect()
            };
            left -= PIECE.min(left);
            let before = piece.len();
            let snapshot = snapshot.load_full();
            match hangup::hung_up(&piece) {
                Ok(gone) => {
                    let mut gone = gone.into_iter();
                    let (stay, leave): (Vec<_>, Vec<_>) = piece.into_iter().partition(|client| {
                        !gone.next().unwrap_or_default() && admission::is_held(&snapshot, client.name.client)
                    });
                    let_go(&leave, tell);
                    piece = stay;
                }
                Err(error) => log::debug(1, format_args!("tarpit_acl: {}", SystemReason(&error))),
            }
            self.count.fetch_sub(before - piece.len(), Relaxed);
            self.put_back(piece, tell);
            tokio::task::yield_now().await;
        }
    }

    /// Continues to hold connections, unless pen has released all others meanwhile.
    fn put_back(&self, mut clients: Vec<HeldClient>, tell: &LetGo<'_>) {
        let mut held = self.held.lock();
        if held.ended {
            drop(held);
            self.count.fetch_sub(clients.len(), Relaxed);
            let_go(&clients, tell);
        } else {
            held.clients.append(&mut clients);
        }
    }
}
