//! What all workers and the owner of the configuration share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use crate::core::Millis;
use crate::core::affinity::{AffinityTable, Client};
use crate::core::snapshot::Snapshot;
use crate::sys::splice::Pool;
use crate::weblog::LogHandle;

use super::connections::{Connection, ConnectionTable};
use super::tls;
use super::udp::Drops;

/// Pipes, two descriptors each: what Linux gives a user without privilege (pipe(7): pipe-user-pages-soft, 64 MiB).
const PIPES: usize = 64;

/// The shared state. Workers read the snapshot and never wait for whoever replaces it.
#[derive(Debug)]
pub struct Shared {
    /// The configuration in force.
    pub snapshot: ArcSwap<Snapshot>,
    /// The connections.
    pub connections: Arc<ConnectionTable>,
    /// The request log.
    pub log: LogHandle,
    /// Pipes for connections that move bulk.
    pub pipes: Pool,
    /// TLS towards clients, when pen was started with it.
    pub tls: Option<tls::Server>,
    /// Datagrams that were not passed on.
    pub drops: Drops,
    clients: Mutex<AffinityTable>,
    connecting: AtomicUsize,
    connected: Notify,
    origin: Instant,
}

impl Shared {
    /// The state of a pen that begins to serve.
    pub fn new(snapshot: Snapshot, clients_max: usize, log: LogHandle, tls: Option<tls::Server>) -> Self {
        Shared {
            snapshot: ArcSwap::from_pointee(snapshot),
            connections: Arc::default(),
            log,
            pipes: Pool::new(PIPES),
            tls,
            drops: Drops::default(),
            clients: Mutex::new(AffinityTable::new(clients_max)),
            connecting: AtomicUsize::new(0),
            connected: Notify::new(),
            origin: Instant::now(),
        }
    }

    /// Now, on the monotonic clock that everything in pen goes by.
    pub fn now(&self) -> Millis {
        // Starts at 1, since 0 stands for "never" in a blacklist.
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// The table of clients.
    pub fn clients(&self) -> MutexGuard<'_, AffinityTable> {
        // A panic elsewhere leaves the table as it was between two calls.
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the bytes of a connection that is over to its client's.
    pub fn settle(&self, connection: &Connection) {
        let (sx, rx) = connection.traffic();
        self.clients().add_traffic(connection.client, sx, rx);
    }

    /// AffinityTable that connected at `since` or later, with the bytes of connections that are still open.
    pub fn clients_since(&self, since: Millis) -> Vec<(Client, crate::core::affinity::Record)> {
        let mut clients = self.clients().since(since);
        let places: HashMap<Client, usize> =
            clients.iter().enumerate().map(|(at, (c, _))| (*c, at)).collect();
        for (client, sx, rx) in self.connections.traffic() {
            if let Some((_, record)) = places.get(&client).and_then(|at| clients.get_mut(*at)) {
                record.sx += sx;
                record.rx += rx;
            }
        }
        clients
    }

    /// Waits until fewer than `pending_max` connects are in progress, and counts one until it is dropped.
    pub async fn connecting(&self) -> Connecting<'_> {
        loop {
            let connected = self.connected.notified();
            tokio::pin!(connected);
            // Listens before it looks, so that an end in between is not missed.
            connected.as_mut().enable();
            let max = self.snapshot.load().pending_max;
            if self.connecting.fetch_update(Relaxed, Relaxed, |n| (n < max).then(|| n + 1)).is_ok() {
                return Connecting(self);
            }
            connected.await;
        }
    }
}

/// A connect in progress.
#[derive(Debug)]
pub struct Connecting<'a>(&'a Shared);

impl Drop for Connecting<'_> {
    fn drop(&mut self) {
        self.0.connecting.fetch_sub(1, Relaxed);
        self.0.connected.notify_waiters();
    }
}
