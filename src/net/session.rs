//! One connection from its acceptance to its end.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use socket2::SockRef;

use crate::core::admission::Admission;
use crate::core::admission::limits::ClientSlot;
use crate::core::affinity::Client;
use crate::core::http::{Forwarding, Rewriter};
use crate::core::select::{Selected, Selection};
use crate::core::snapshot::Snapshot;
use crate::sys::log;

use super::accept_token::ConnectionCount;
use super::connect::{self, setup};
use super::connections::{AcceptedClient, Connection, ConnectionEntry, ConnectionMeter, Permit};
use super::filter::StreamFilter;
use super::filter::dump::{self, Dump};
use super::filter::http::Http;
use super::filter::request_log::RequestLog;
use super::relay::{Relay, RelaySettings};
use super::shared::Shared;
use super::stream::Stream;
use super::{dummy, limits, tls};

/// A client that was accepted.
#[derive(Debug)]
pub struct Accepted {
    /// Its stream.
    pub stream: Stream,
    /// Its address, but for a Unix client.
    pub peer: Option<SocketAddr>,
}

/// A connection in the connections, and the promise to add its bytes to its client's when it is over, however it ends.
#[derive(Debug)]
struct Session {
    shared: Arc<Shared>,
    /// Counts it among those of its worker and of its client; no longer when the end of `entry` is told.
    _counts: Box<(ConnectionCount, Option<ClientSlot>)>,
    entry: ConnectionEntry,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.shared.clients.add_traffic(&self.entry.connection);
    }
}

/// Starts the task that serves a client on this worker, which counts it.
pub fn start(shared: &Arc<Shared>, accepted: Accepted, permit: Permit, connection_count: ConnectionCount) {
    let client = accepted.peer.map_or(Client::UNIX, |peer| Client::new(peer.ip()));
    let snapshot = shared.snapshot.load_full();
    let admission = Admission::of(&snapshot, client);
    if admission == Admission::Refuse {
        return;
    }
    let Ok(slot) = limits::begin(shared, &snapshot, client) else { return };
    let key = client.masked(snapshot.client_mask);
    let (id, remembered) = match admission {
        Admission::Abuse | Admission::Refuse => (None, None),
        Admission::Admit => {
            let (id, remembered) = shared.clients.record_connect(key, snapshot.tracking);
            (Some(id), remembered)
        }
    };
    // Boxed: the task that serves the connection has room for it all its life otherwise.
    let arrival = Box::new(Arrival { accepted, admission, remembered });
    let entry = permit.enter(Connection::new(AcceptedClient {
        client,
        key,
        client_port: arrival.accepted.peer.map(|peer| peer.port()),
        client_id: id,
        downfd: arrival.accepted.stream.as_raw_fd(),
        began: shared.now(),
    }));
    let connection = Arc::clone(&entry.connection);
    let session = Session { shared: Arc::clone(shared), _counts: Box::new((connection_count, slot)), entry };
    let task = tokio::spawn(serve(session, snapshot, arrival));
    connection.served_by(task.abort_handle());
}

/// A client that is to be served.
struct Arrival {
    accepted: Accepted,
    /// Admit or Abuse.
    admission: Admission,
    /// The server that it had before.
    remembered: Option<usize>,
}

async fn serve(session: Session, snapshot: Arc<Snapshot>, arrival: Box<Arrival>) {
    // Boxed: what only the beginning needs is freed before the connection grows old.
    let joining = Box::pin(join(&session, &snapshot, arrival));
    let Some(Joined { selected, mut relay, only_logs }) = joining.await else { return };
    drop(snapshot);
    poll_fn(|cx| {
        session.entry.connection.wakes(cx.waker());
        Poll::Ready(())
    })
    .await;
    let end = poll_fn(|cx| {
        if let Some(requests) = session.entry.connection.take_requests() {
            if requests.look {
                follow(&session, &mut relay, only_logs.then_some(&selected));
            }
            if requests.end {
                relay.end_soon();
            }
        }
        Pin::new(&mut relay).poll(cx)
    })
    .await;
    log::debug(2, format_args!("connection of {}: {end:?}", session.entry.connection.name()));
}

/// A client with its server.
struct Joined {
    selected: Selected,
    relay: Relay<ConnectionMeter>,
    /// Whoever looks at its requests does so for the request log alone.
    only_logs: bool,
}

/// Applies to a connection in progress what has changed since it began, as in C pen: the request log for `logged`, and what
/// ends a connection.
fn follow(session: &Session, relay: &mut Relay<ConnectionMeter>, logged: Option<&Selected>) {
    let snapshot = session.shared.snapshot.load();
    relay.change(snapshot.fastclose, idle_timeout(&snapshot));
    if let Some(selected) = logged {
        relay.show_to(request_log(session, selected));
    }
}

/// Joins a client to its server; `None` when the connection is over before it has one.
async fn join(session: &Session, snapshot: &Arc<Snapshot>, arrival: Box<Arrival>) -> Option<Joined> {
    let Arrival { accepted: Accepted { stream, peer }, admission, remembered } = *arrival;
    if peer.is_some() {
        setup::set_options(snapshot, &SockRef::from(&stream));
    }
    let stream = secured(session, snapshot, stream).await?;
    // Boxed, like all that is large and that most connections have no need of.
    if snapshot.content.dummy {
        Box::pin(dummy::serve(stream)).await;
        return None;
    }
    let port = peer.map_or(0, |p| p.port());
    let client = session.entry.connection.client;
    let mut selection = Selection::new(Arc::clone(snapshot), client, port, remembered, admission);
    let (selected, server) =
        connect::establish(&session.shared, snapshot, &mut selection, &stream).await.ok()?;
    if let Some(n) = selection.remembers(&selected).filter(|n| remembered != Some(*n)) {
        session.shared.clients.remember(&session.entry.connection, n, &selected.backend.stats);
    }
    let dumps = log::debug_level() >= dump::LEVEL;
    let relay = relay(session, snapshot, &selected, stream, server, dumps);
    Some(Joined { selected, relay, only_logs: !snapshot.content.http && !dumps })
}

/// The stream after the TLS handshake, if there is to be one; `None` when it has failed.
async fn secured(session: &Session, snapshot: &Snapshot, stream: Stream) -> Option<Stream> {
    let (tcp, server) = match (stream, &session.shared.tls) {
        (Stream::Plain(socket), Some(server)) if socket.is_tcp() => (socket, server),
        (stream, _) => return Some(stream),
    };
    let connection = &session.entry.connection;
    let (client, limit) = (connection.name(), Duration::from_millis(snapshot.handshake_timeout));
    let stream = Box::pin(tls::accept(server, tcp, tls::Handshake { client, limit })).await?;
    connection.secured(tls::session_of(stream.ssl()));
    Some(stream.into())
}

fn relay(
    session: &Session,
    snapshot: &Snapshot,
    selected: &Selected,
    client: Stream,
    server: Stream,
    dumps: bool,
) -> Relay<ConnectionMeter> {
    let meter = session.entry.connection.connected(&selected.backend, server.as_raw_fd());
    let settings = RelaySettings {
        pipes: Some(session.shared.pipes.clone()),
        fastclose: snapshot.fastclose,
        idle: idle_timeout(snapshot),
    };
    let filter = filter(session, snapshot, selected, matches!(client, Stream::Tls(_)), dumps);
    let mut relay = Relay::new(client, server, &settings, meter);
    relay.show_to(filter);
    relay
}

fn idle_timeout(snapshot: &Snapshot) -> Option<Duration> {
    (snapshot.idle_timeout > 0).then(|| Duration::from_millis(snapshot.idle_timeout))
}

fn requests(session: &Session, selected: &Selected) -> RequestLog {
    let client = session.entry.connection.client;
    RequestLog::new(session.shared.log.clone(), client, Arc::clone(&selected.backend))
}

/// Who looks at requests for the log alone, while there is one.
fn request_log(session: &Session, selected: &Selected) -> Option<Box<dyn StreamFilter + Send>> {
    session.shared.log.is_on().then(|| Box::new(requests(session, selected)) as _)
}

fn filter(
    session: &Session,
    snapshot: &Snapshot,
    selected: &Selected,
    https: bool,
    dumps: bool,
) -> Option<Box<dyn StreamFilter + Send>> {
    let client = session.entry.connection.client;
    let filter: Option<Box<dyn StreamFilter + Send>> = if snapshot.content.http {
        let requests = requests(session, selected);
        let forwarding = Forwarding {
            client: client.ip(),
            https,
            policy: snapshot.content.http_forwarded,
            rfc7239: snapshot.content.http_rfc7239,
        };
        Some(Box::new(Http::new(Rewriter::new(forwarding), requests, session.entry.connection.name())))
    } else {
        request_log(session, selected)
    };
    if !dumps {
        return filter;
    }
    let client = session.entry.connection.name();
    Some(Box::new(Dump::new(filter, client, Arc::clone(&selected.backend), snapshot.content.ascii)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The size of the future that an asynchronous function of three arguments gives.
    fn size<A, B, C, F>(_: fn(A, B, C) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn the_tasks_of_a_connection_are_small() {
        let (serve, join) = (size(serve), size(join));
        assert!(serve <= 640, "{serve} bytes as long as it lasts");
        // More is no longer served by the fast path of some allocators.
        assert!(join <= 1032, "{join} bytes as long as it has no server");
    }
}
