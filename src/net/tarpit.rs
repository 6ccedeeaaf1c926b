//! Clients that `tarpit_acl` denies: their connections are held, and nothing is sent to them.
//!
//! Each costs a descriptor and the memory that the system has for a socket, and none of the connections that `conn_max` is
//! about. Nothing waits for it: a task of the main thread looks from time to time which clients have gone.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use socket2::SockRef;
use tokio::sync::Notify;

use crate::core::admission;
use crate::core::affinity::Client;
use crate::core::error::SystemReason;
use crate::core::snapshot::Snapshot;
use crate::sys::{hangup, log};

use super::lifecycle::{LifeStage, Lifecycle};

/// How often it is looked who has gone.
const LOOK: Duration = Duration::from_secs(1);
/// How many are looked at before other tasks of the thread run.
const PIECE: usize = 512;
/// The least room for bytes that a client sends and nobody reads; the system makes more of it.
const ROOM: usize = 1;

/// The connections that are held.
#[derive(Debug, Default)]
pub struct Tarpit {
    held: Mutex<Held>,
    count: AtomicUsize,
    accepted: AtomicU64,
    refused: AtomicU64,
    first: Notify,
}

#[derive(Debug, Default)]
struct Held {
    sockets: Vec<OwnedFd>,
    /// Pen takes no more clients.
    ended: bool,
}

impl Tarpit {
    /// How many are held.
    pub fn count(&self) -> usize {
        self.count.load(Relaxed)
    }

    /// How many were held so far.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Relaxed)
    }

    /// How many were closed at once, for want of room.
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// Holds a connection, if there are fewer than `limit`; else it is closed.
    pub(super) fn hold(&self, socket: OwnedFd, limit: usize) {
        static FULL: log::Condition = log::Condition::new();
        if self.count.fetch_update(Relaxed, Relaxed, |count| (count < limit).then(|| count + 1)).is_err() {
            self.refused.fetch_add(1, Relaxed);
            return FULL.begin(format_args!(
                "tarpit_acl: {limit} connections are held, for which there are descriptors: others are closed"
            ));
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
        } else {
            held.sockets.push(socket);
            self.first.notify_one();
        }
    }

    /// Lets go of connections whose clients have gone, or are no longer denied, until pen takes no more clients.
    pub async fn run(&self, lifecycle: &Lifecycle, snapshot: &ArcSwap<Snapshot>) {
        let look = async {
            loop {
                if self.count() == 0 {
                    self.first.notified().await;
                }
                tokio::time::sleep(LOOK).await;
                self.look(snapshot).await;
            }
        };
        tokio::select! {
            () = look => {}
            () = lifecycle.reaches(LifeStage::Drain) => {}
        }
        self.end();
    }

    fn end(&self) {
        let mut held = self.held.lock();
        held.ended = true;
        self.count.fetch_sub(held.sockets.len(), Relaxed);
        held.sockets = Vec::new();
    }

    async fn look(&self, snapshot: &ArcSwap<Snapshot>) {
        let mut left = self.held.lock().sockets.len();
        while left > 0 {
            let mut piece: Vec<OwnedFd> = {
                let mut held = self.held.lock();
                let count = PIECE.min(left).min(held.sockets.len());
                held.sockets.drain(..count).collect()
            };
            left -= PIECE.min(left);
            let before = piece.len();
            let snapshot = snapshot.load_full();
            match hangup::hung_up(&piece) {
                Ok(gone) => {
                    let mut gone = gone.into_iter();
                    piece.retain(|socket| !gone.next().unwrap_or_default() && denies(&snapshot, socket));
                }
                Err(error) => log::debug(1, format_args!("tarpit_acl: {}", SystemReason(&error))),
            }
            self.count.fetch_sub(before - piece.len(), Relaxed);
            self.held.lock().sockets.append(&mut piece);
            tokio::task::yield_now().await;
        }
    }
}

/// Whether the client of a connection that is held is still denied.
fn denies(snapshot: &Snapshot, socket: &OwnedFd) -> bool {
    let peer = SockRef::from(socket).peer_addr().ok().and_then(|peer| peer.as_socket());
    peer.is_some_and(|peer| admission::tarpit_denies(snapshot, Client::new(peer.ip())))
}
