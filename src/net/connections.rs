//! The connections of pen: their limit, their table, and the state of each.

use std::sync::atomic::{AtomicI32, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, Weak};
use std::task::Waker;

use parking_lot::{Mutex, MutexGuard};
use slab::Slab;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::core::Millis;
use crate::core::backend::ServerStats;
use crate::core::end_reason::{EndReason, FirstReason};
use crate::core::report::model::{ConnectionRow, ConnectionState};
use crate::core::snapshot::Backend;
use crate::core::tls_session::TlsSession;

use super::accepted_client::AcceptedClient;
use super::client_name::ClientName;
use super::filter::TrafficMeter;
use super::known_client::{KnownClient, RareParts};
use super::requests::{ConnectionRequests, END, Inbox, LOOK};
use super::silent::{SILENCE, Silent};

/// One connection, shared between the task that serves it and the code that reports on it.
#[derive(Debug)]
pub struct Connection {
    /// The client that connected.
    peer: KnownClient,
    /// When it was accepted.
    pub began: Millis,
    state: AtomicU8,
    downfd: i32,
    upfd: AtomicI32,
    server: AtomicI32,
    /// Which of the servers that its slot has had, see [`ServerStats::id`].
    server_id: AtomicU32,
    pending_up: AtomicU32,
    pending_down: AtomicU32,
    /// Bytes delivered to the client.
    sx: AtomicU64,
    /// Bytes delivered to the server.
    rx: AtomicU64,
    /// Its number, and its key in [`Slots::silent`].
    id: u32,
    silent: AtomicU64,
    /// The table that contains it.
    table: Weak<ConnectionTable>,
    /// The part of `sx` and `rx` that is already counted for the client.
    counted: [AtomicU64; 2],
    /// What it is asked to do.
    inbox: Inbox,
    task: OnceLock<AbortHandle>,
    /// What most connections do not have.
    rare: OnceLock<Box<RareParts>>,
    /// The first reason why it was asked to end.
    asked_to_end: FirstReason,
}

/// The number of a server as connections keep it: there are never as many servers as that.
fn stored(number: i64) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

impl Connection {
    /// Its client.
    pub fn client(&self) -> &KnownClient {
        self.rare.get().and_then(|rare| rare.announced.get()).unwrap_or(&self.peer)
    }

    /// Its client as messages name it.
    pub(in crate::net) fn name(&self) -> ClientName {
        self.client().name()
    }

    /// Sets the client in the PROXY header, once.
    pub fn announce(&self, client: KnownClient) {
        _ = self.rare().announced.set(client);
    }

    /// A connection that has no server yet.
    pub fn new(accepted: AcceptedClient) -> Self {
        let AcceptedClient { known, downfd, began } = accepted;
        Connection {
            peer: known,
            began,
            state: AtomicU8::new(CONNECTING),
            downfd,
            upfd: AtomicI32::new(-1),
            server: AtomicI32::new(-1),
            server_id: AtomicU32::new(0),
            pending_up: AtomicU32::new(0),
            pending_down: AtomicU32::new(0),
            sx: AtomicU64::new(0),
            rx: AtomicU64::new(0),
            id: 0,
            silent: AtomicU64::new(0),
            table: Weak::new(),
            counted: Default::default(),
            inbox: Inbox::default(),
            task: OnceLock::new(),
            rare: OnceLock::new(),
            asked_to_end: FirstReason::default(),
        }
    }

    /// Records its server and the descriptor `upfd`. Returns the meter that counts for both.
    pub fn connected(self: &Arc<Self>, backend: &Backend, upfd: i32) -> ConnectionMeter {
        self.server.store(stored(backend.role.number()), Relaxed);
        self.server_id.store(backend.stats.id(), Relaxed);
        self.upfd.store(upfd, Relaxed);
        self.state.store(CONNECTED, Relaxed);
        ConnectionMeter { connection: Arc::clone(self), server: Arc::clone(&backend.stats) }
    }

    /// Sets the task that serves it, for [`ConnectionTable::close`].
    pub fn served_by(&self, task: AbortHandle) {
        _ = self.task.set(task);
    }

    /// Sets the task that polls [`Connection::take_requests`], once, so that a request wakes it.
    pub fn wakes(&self, task: &Waker) {
        self.inbox.wakes(task);
    }

    /// The requests since the last call.
    pub fn take_requests(&self) -> Option<ConnectionRequests> {
        self.inbox.take()
    }

    /// Bytes were delivered; after the `first` it is no longer silent.
    fn spoke(&self, first: bool) {
        if first && let Some(table) = self.table.upgrade() {
            table.slots().silent.remove(self.silent.load(Relaxed));
        }
    }

    /// It waits in the queue from now on. It is not its client's fault that it is silent, and it makes no room for others.
    pub fn waits(&self) {
        self.state.store(WAITING, Relaxed);
        if let Some(table) = self.table.upgrade() {
            table.slots().silent.remove(self.silent.load(Relaxed));
        }
    }

    /// It waits no longer at `now`.
    pub fn has_waited(&self, now: Millis) {
        self.state.store(CONNECTING, Relaxed);
        if let Some(table) = self.table.upgrade() {
            self.silent.store(table.slots().silent.add(self.id as usize, now), Relaxed);
        }
    }

    /// Ends it for `reason`, at once if it does not move bytes yet.
    fn end(&self, reason: EndReason) {
        self.asked_to_end.set(reason);
        if !self.inbox.ask(END)
            && let Some(task) = self.task.get()
        {
            task.abort();
        }
    }

    /// Sets the parameters of the client's TLS session, once.
    pub fn secured(&self, session: TlsSession) {
        _ = self.rare().tls.set(session);
    }

    /// The parameters of the client's TLS session.
    pub fn tls(&self) -> Option<&TlsSession> {
        self.rare.get()?.tls.get()
    }

    fn rare(&self) -> &RareParts {
        self.rare.get_or_init(Box::default)
    }

    /// Why it was asked to end, if it was.
    pub fn asked_to_end(&self) -> Option<EndReason> {
        self.asked_to_end.get()
    }

    /// Bytes delivered to the server and to the client.
    pub fn delivered(&self) -> (u64, u64) {
        (self.rx.load(Relaxed), self.sx.load(Relaxed))
    }

    /// Bytes delivered since the last call: to the client, to the server. Must not be called concurrently.
    pub fn take_uncounted(&self) -> (u64, u64) {
        let take = |all: &AtomicU64, counted: &AtomicU64| {
            let now = all.load(Relaxed);
            let before = counted.load(Relaxed);
            counted.store(now, Relaxed);
            now - before
        };
        (take(&self.sx, &self.counted[0]), take(&self.rx, &self.counted[1]))
    }

    fn has_descriptor(&self, fd: i64) -> bool {
        [self.downfd, self.upfd.load(Relaxed)].iter().any(|f| i64::from(*f) == fd)
    }

    /// Its state at `now`, as connection `id`.
    pub fn row(&self, id: usize, now: Millis) -> ConnectionRow {
        ConnectionRow {
            connection: id,
            state: match self.state.load(Relaxed) {
                CONNECTED => ConnectionState::Connected,
                WAITING => ConnectionState::Waiting,
                _ => ConnectionState::Connecting,
            },
            client_address: self.client().client.ip(),
            client_port: self.client().port,
            client: self.client().id(),
            server: usize::try_from(self.server.load(Relaxed)).ok(),
            server_number: self.server.load(Relaxed).into(),
            downfd: self.downfd,
            upfd: self.upfd.load(Relaxed),
            age_seconds: now.saturating_sub(self.began) as f64 / 1000.0,
            to_client_bytes: self.sx.load(Relaxed),
            to_server_bytes: self.rx.load(Relaxed),
            pending_to_client_bytes: self.pending_down.load(Relaxed),
            pending_to_server_bytes: self.pending_up.load(Relaxed),
            tls: self.tls().cloned(),
        }
    }
}

/// It has no server yet.
const CONNECTING: u8 = 1;
/// It has one.
const CONNECTED: u8 = 2;
/// It waits in the queue.
const WAITING: u8 = 3;

/// Counts a connection's bytes for itself and for its server.
#[derive(Debug, Clone)]
pub struct ConnectionMeter {
    /// The connection.
    pub connection: Arc<Connection>,
    /// The server's counters.
    pub server: Arc<ServerStats>,
}

impl TrafficMeter for ConnectionMeter {
    fn to_client(&self, bytes: usize) {
        let first = count(&self.connection.sx, bytes);
        self.connection.spoke(first && self.connection.rx.load(Relaxed) == 0);
        self.server.traffic.add_received(bytes as u64);
    }

    fn to_server(&self, bytes: usize) {
        let first = count(&self.connection.rx, bytes);
        self.connection.spoke(first && self.connection.sx.load(Relaxed) == 0);
        self.server.traffic.add_sent(bytes as u64);
    }

    fn awaits_look(&self) -> bool {
        self.connection.inbox.is_asked()
    }

    fn pending(&self, to_server: usize, to_client: usize) {
        self.connection.pending_up.store(u32::try_from(to_server).unwrap_or(u32::MAX), Relaxed);
        self.connection.pending_down.store(u32::try_from(to_client).unwrap_or(u32::MAX), Relaxed);
    }
}

/// Adds to a counter that only one thread, the worker, writes, without a locked instruction. Returns whether it was 0
/// before.
fn count(counter: &AtomicU64, bytes: usize) -> bool {
    let before = counter.load(Relaxed);
    counter.store(before + bytes as u64, Relaxed);
    before == 0
}

/// All connections.
#[derive(Debug, Default)]
pub struct ConnectionTable {
    slots: Mutex<Slots>,
    permits: AtomicUsize,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Slots {
    connections: Slab<Arc<Connection>>,
    /// Those that have carried no byte yet.
    silent: Silent,
    /// The number of the connection that was opened last.
    last: usize,
}

/// How many entries of a table are processed under one hold of its lock, for which workers may have to wait: about 10
/// microseconds.
pub(super) const PIECE: usize = 64;

impl ConnectionTable {
    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock()
    }

    /// Adds up to [`PIECE`] connections from number `from` on; returns where to continue, if there may be more.
    pub(super) fn piece(&self, from: usize, into: &mut Vec<(usize, Arc<Connection>)>) -> Option<usize> {
        let slots = self.slots();
        let (end, all) = (from.saturating_add(PIECE), slots.connections.capacity());
        let ids = from..end.min(all);
        into.extend(ids.filter_map(|id| Some((id, Arc::clone(slots.connections.get(id)?)))));
        // Hands the lock to a waiting worker, rather than to the caller's next piece.
        MutexGuard::unlock_fair(slots);
        (end < all).then_some(end)
    }

    /// An iterator over all connections, by number.
    pub fn walk(self: &Arc<Self>) -> ConnectionWalk {
        ConnectionWalk { table: Arc::clone(self), next: Some(0), piece: Vec::new().into_iter() }
    }

    /// Waits until there is room for one more connection; `limit` is re-evaluated whenever one has ended.
    pub async fn permit(self: &Arc<Self>, limit: impl Fn() -> usize) -> Permit {
        loop {
            if let Some(permit) = self.try_permit(limit()) {
                return permit;
            }
            let freed = self.freed.notified();
            tokio::pin!(freed);
            // Listens before the last check, so that an end in between is not missed.
            freed.as_mut().enable();
            if let Some(permit) = self.try_permit(limit()) {
                return permit;
            }
            freed.await;
        }
    }

    /// A permit for one more connection, if there are fewer than `limit`.
    pub fn try_permit(self: &Arc<Self>, limit: usize) -> Option<Permit> {
        let taken = self.permits.fetch_update(Relaxed, Relaxed, |n| (n < limit).then(|| n + 1));
        taken.ok().map(|_| Permit(Arc::clone(self)))
    }

    /// Waits until a connection has ended.
    pub async fn freed(&self) {
        self.freed.notified().await;
    }

    /// Wakes the tasks that wait for room: the limit has grown.
    pub fn look_again(&self) {
        self.freed.notify_waiters();
    }

    /// Makes all connections re-read the settings.
    pub fn settings_changed(self: &Arc<Self>) {
        for (_, connection) in self.walk() {
            connection.inbox.ask(LOOK);
        }
    }

    /// Ends a connection; false if there is none with that number.
    pub fn close(&self, id: usize) -> bool {
        let connection = self.slots().connections.get(id).cloned();
        if let Some(connection) = &connection {
            connection.end(EndReason::ClosedByCommand);
        }
        connection.is_some()
    }

    /// Makes room: ends the oldest connection that has carried no byte, for example one in its TLS handshake, if it has
    /// been silent for a while. Returns when to try again, in milliseconds; `None` if there is no silent connection.
    pub fn make_room(&self, now: Millis) -> Option<Millis> {
        let mut slots = self.slots();
        let id = match slots.silent.take(now)? {
            Ok(id) => id,
            Err(time) => return Some(time),
        };
        let connection = slots.connections.get(id).cloned()?;
        drop(slots);
        connection.asked_to_end.set(EndReason::Evicted);
        if let Some(task) = connection.task.get() {
            task.abort();
        }
        Some(SILENCE)
    }

    /// Ends the connections of a server for `reason`.
    pub fn close_server(self: &Arc<Self>, server: &Backend, reason: EndReason) {
        let (number, id) = (stored(server.role.number()), server.stats.id());
        // Not those of a removed server that had the slot before.
        let its = |c: &Connection| c.server.load(Relaxed) == number && c.server_id.load(Relaxed) == id;
        self.walk().filter(|(_, c)| its(c)).for_each(|(_, c)| c.end(reason));
    }

    /// Ends all connections, since pen ends.
    pub fn close_all(self: &Arc<Self>) {
        self.walk().for_each(|(_, connection)| connection.end(EndReason::Shutdown));
    }

    /// The number of connections.
    pub fn count(&self) -> usize {
        self.permits.load(Relaxed)
    }

    /// The number of the connection that was opened last; 0 before the first one.
    pub fn last(&self) -> usize {
        self.slots().last
    }

    /// Waits until `done` returns true; it is called whenever a connection has ended.
    pub async fn until(&self, done: impl Fn() -> bool) {
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            // Listens before the check, so that an end in between is not missed.
            freed.as_mut().enable();
            if done() {
                return;
            }
            freed.await;
        }
    }

    /// The state of connection `id` at `now`.
    pub fn row(&self, id: usize, now: Millis) -> Option<ConnectionRow> {
        self.slots().connections.get(id).map(|c| c.row(id, now))
    }

    /// The connection that a descriptor belongs to.
    pub fn by_descriptor(self: &Arc<Self>, fd: i64) -> Option<usize> {
        self.walk().find(|(_, connection)| connection.has_descriptor(fd)).map(|(id, _)| id)
    }
}

/// An iterator over all connections in pieces; connections that begin or end in the meantime may be missing.
#[derive(Debug)]
pub struct ConnectionWalk {
    table: Arc<ConnectionTable>,
    next: Option<usize>,
    piece: std::vec::IntoIter<(usize, Arc<Connection>)>,
}

impl Iterator for ConnectionWalk {
    type Item = (usize, Arc<Connection>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(connection) = self.piece.next() {
                return Some(connection);
            }
            let mut piece = Vec::with_capacity(PIECE);
            self.next = self.table.piece(self.next?, &mut piece);
            self.piece = piece.into_iter();
        }
    }
}

/// A permit for one connection.
#[derive(Debug)]
pub struct Permit(Arc<ConnectionTable>);

impl Permit {
    /// Puts a connection into the table.
    pub fn enter(self, connection: Connection) -> ConnectionEntry {
        let mut connection = Connection { table: Arc::downgrade(&self.0), ..connection };
        let mut slots = self.0.slots();
        let id = slots.connections.vacant_key();
        // Fewer than there are descriptors.
        connection.id = id as u32;
        connection.silent = slots.silent.add(id, connection.began).into();
        let connection = Arc::new(connection);
        slots.connections.insert(Arc::clone(&connection));
        slots.last = id;
        drop(slots);
        ConnectionEntry { permit: self, connection }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.permits.fetch_sub(1, Relaxed);
        self.0.freed.notify_waiters();
    }
}

/// A connection's entry in the table, removed when dropped.
#[derive(Debug)]
pub struct ConnectionEntry {
    permit: Permit,
    /// The connection.
    pub connection: Arc<Connection>,
}

impl Drop for ConnectionEntry {
    fn drop(&mut self) {
        let mut slots = self.permit.0.slots();
        slots.connections.try_remove(self.connection.id as usize);
        slots.silent.remove(self.connection.silent.load(Relaxed));
    }
}
