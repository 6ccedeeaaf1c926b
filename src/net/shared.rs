//! The data that all workers and the owner of the configuration share.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use crate::core::Millis;
use crate::core::admission::limits::ClientLimits;
use crate::core::connection_ends::ConnectionEnds;
use crate::core::handshakes::Handshakes;
use crate::core::queue::{Queue, QueueCounts};
use crate::core::refusals::Refusals;
use crate::core::select::Selection;
use crate::core::snapshot::Snapshot;
use crate::core::state_changes::StateChanges;
use crate::sys::splice::Pool;
use crate::weblog::LogHandle;

use super::clients::{ClientWalk, Clients};
use super::clock::Clock;
use super::connect::reports::Reports;
use super::connect::shortage::ShortageQueue;
use super::connection_log::ConnectionLog;
use super::connections::ConnectionTable;
use super::failures::Failures;
use super::lifecycle::Lifecycle;
use super::proxy;
use super::tarpit::Tarpit;
use super::tls;
use super::udp::drops::Drops;
use super::upstream_tls::UpstreamTls;

/// The number of pipes, with two descriptors each: as many as Linux allows an unprivileged user (pipe(7):
/// pipe-user-pages-soft, 64 MiB).
const PIPES: usize = 64;

/// The shared state. Workers read the snapshot and never wait for the thread that replaces it.
#[derive(Debug)]
pub struct Shared {
    /// The configuration in force.
    pub snapshot: ArcSwap<Snapshot>,
    /// The stage of pen's life.
    pub lifecycle: Lifecycle,
    /// The connections.
    pub connections: Arc<ConnectionTable>,
    /// The affinity table.
    pub clients: Arc<Clients>,
    /// The connections of each client.
    pub limits: Arc<ClientLimits>,
    /// Connections that wait for a place at a server.
    pub queue: Queue<Selection>,
    /// Connections that wait for a descriptor to their server.
    pub shortage: ShortageQueue,
    /// Notified whenever a connection begins to wait, for a place at a server, for one among the connects to it or for a
    /// descriptor.
    pub waits: Notify,
    /// What became of those in the queue.
    pub queue_counts: QueueCounts,
    /// Connections that are held.
    pub tarpit: Tarpit,
    /// The request log.
    pub log: LogHandle,
    /// The connection log.
    pub connection_log: ConnectionLog,
    /// How connections have ended.
    pub ends: ConnectionEnds,
    /// Clients that were refused.
    pub refusals: Refusals,
    /// TLS handshakes with clients.
    pub handshakes: Handshakes,
    /// Pipes for connections with bulk data.
    pub pipes: Pool,
    /// TLS towards clients, when pen was started with it.
    pub tls: Option<tls::TlsServer>,
    /// TLS towards servers.
    pub upstream_tls: UpstreamTls,
    /// Datagrams that were not passed on.
    pub drops: Drops,
    /// Connections that were closed for their PROXY header.
    pub proxy_faults: proxy::Faults,
    /// Changes of servers' states.
    pub state_changes: StateChanges,
    /// Servers that are to be checked at once.
    pub failures: Failures,
    /// Problems between clients and their servers.
    pub reports: Reports,
    clock: Clock,
}

impl Shared {
    /// The state of a pen that starts to serve.
    pub fn new(
        snapshot: Arc<Snapshot>,
        clients_max: usize,
        (log, connection_log): (LogHandle, LogHandle),
        tls: Option<tls::TlsServer>,
    ) -> Self {
        let clock = Clock::start();
        Shared {
            queue: Queue::new(Arc::clone(&snapshot.wakeup)),
            shortage: ShortageQueue::default(),
            waits: Notify::new(),
            queue_counts: QueueCounts::default(),
            tarpit: Tarpit::default(),
            snapshot: ArcSwap::new(snapshot),
            lifecycle: Lifecycle::default(),
            limits: Arc::default(),
            connections: Arc::default(),
            log,
            connection_log: ConnectionLog::new(connection_log),
            ends: ConnectionEnds::default(),
            refusals: Refusals::default(),
            handshakes: Handshakes::default(),
            pipes: Pool::new(PIPES),
            tls,
            upstream_tls: UpstreamTls::default(),
            drops: Drops::default(),
            proxy_faults: proxy::Faults::default(),
            state_changes: StateChanges::default(),
            failures: Failures::default(),
            reports: Reports::default(),
            clients: Arc::new(Clients::new(clients_max, clock)),
            clock,
        }
    }

    /// The time on the monotonic clock that all of pen uses.
    pub fn now(&self) -> Millis {
        self.clock.now()
    }

    /// An iterator over the clients that connected at `since` or later.
    pub fn clients_since(&self, since: Millis) -> ClientWalk {
        ClientWalk::new(Arc::clone(&self.clients), Arc::clone(&self.connections), since)
    }
}
