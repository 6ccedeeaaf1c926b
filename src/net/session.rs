//! One connection from its acceptance to its end.

use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;

use crate::core::admission::Admission;
use crate::core::admission::limits::ClientSlot;
use crate::core::admission::sender::Sender;
use crate::core::affinity::Client;
use crate::core::end_reason::EndReason;
use crate::core::proxy::Header;
use crate::core::refusals::Refusal;
use crate::core::select::{Selected, Selection};
use crate::core::snapshot::Snapshot;
use crate::sys::log;

use super::accept_token::ConnectionCount;
use super::accepted_client::AcceptedClient;
use super::connect::{self, setup};
use super::connection_record::{self, ConnectionRecord};
use super::connections::{Connection, ConnectionEntry, ConnectionMeter, Permit};
use super::filter::chosen::Filters;
use super::filter::dump;
use super::known_client::KnownClient;
use super::proxy::Caller;
use super::relay::{Relay, RelaySettings};
use super::shared::Shared;
use super::stream::Stream;
use super::{client_hello, dummy, limits, proxy, tls};

/// A client that was accepted.
#[derive(Debug)]
pub struct Accepted {
    /// Its stream.
    pub stream: Stream,
    /// Its address, except for a Unix client.
    pub peer: Option<SocketAddr>,
}

/// A connection in the table; when it is over, however it ends, its bytes are added to its client's and it is logged.
#[derive(Debug)]
struct Session {
    data: Box<SessionData>,
}

/// The data of a session until its end. Boxed: the task that serves it must be small.
#[derive(Debug)]
struct SessionData {
    /// Counts it for its worker until its entry is removed.
    _count: ConnectionCount,
    /// Counts it for its client, likewise.
    slot: Option<ClientSlot>,
    record: ConnectionRecord,
    /// Its server, until both sides are closed.
    selected: OnceLock<Selected>,
    entry: ConnectionEntry,
}

impl Session {
    fn shared(&self) -> &Shared {
        &self.data.record.shared
    }

    fn connection(&self) -> &Arc<Connection> {
        &self.data.entry.connection
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let SessionData { selected, record, entry, .. } = &mut *self.data;
        // Both sides are closed.
        let server = selected.take().map(|selected| Arc::clone(&selected.backend));
        record.shared.clients.add_traffic(&entry.connection);
        record.finish(&entry.connection, server.as_deref());
    }
}

/// Starts the task that serves a client on this worker, and counts it for the worker.
pub fn start(shared: &Arc<Shared>, accepted: Accepted, permit: Permit, connection_count: ConnectionCount) {
    let snapshot = shared.snapshot.load_full();
    let client = accepted.peer.map_or(Client::UNIX, |peer| Client::new(peer.ip()));
    let stranger = KnownClient::unlisted(client, client, accepted.peer.map(|peer| peer.port()));
    let sender = Sender::of(&snapshot, client);
    let (known, slot, welcome) = match sender {
        Sender::Nobody => {
            shared.refusals.count(Refusal::Denied);
            shared.proxy_faults.denied(stranger.name(), shared.now());
            return refused(shared, &snapshot, stranger, EndReason::Denied);
        }
        Sender::Proxy | Sender::ProxyOrClient => (stranger, None, None),
        Sender::Client => match admit(shared, &snapshot, stranger) {
            Ok((known, slot, welcome)) => (known, slot, Some(welcome)),
            Err(reason) => return refused(shared, &snapshot, stranger, reason),
        },
    };
    let entry = permit.enter(Connection::new(AcceptedClient {
        known,
        downfd: accepted.stream.as_raw_fd(),
        began: shared.now(),
    }));
    let connection = Arc::clone(&entry.connection);
    let data = SessionData {
        _count: connection_count,
        slot,
        record: ConnectionRecord::new(shared, &snapshot),
        selected: OnceLock::new(),
        entry,
    };
    let session = Session { data: Box::new(data) };
    // Boxed: otherwise the task that serves the connection would keep room for it all its life.
    let task = match welcome {
        Some(welcome) => {
            let arrival = Box::new(Arrival { accepted, welcome, header: None });
            tokio::spawn(serve(session, snapshot, arrival))
        }
        None => tokio::spawn(Box::pin(receive(session, snapshot, accepted, sender == Sender::Proxy))),
    };
    connection.served_by(task.abort_handle());
}

fn refused(shared: &Shared, snapshot: &Snapshot, client: KnownClient, reason: EndReason) {
    connection_record::refused(shared, &snapshot.listener, client.name(), reason, Duration::ZERO);
}

/// Whether a client is served, and the slot that counts it from now on.
///
/// # Errors
/// Why it is refused.
fn admit(
    shared: &Shared,
    snapshot: &Snapshot,
    stranger: KnownClient,
) -> Result<(KnownClient, Option<ClientSlot>, Welcome), EndReason> {
    let client = stranger.client;
    let admission = Admission::of(snapshot, client);
    // One that a proxy announces cannot be held: the connection is the proxy's.
    if matches!(admission, Admission::Refuse | Admission::Tarpit) {
        shared.refusals.count(Refusal::Denied);
        return Err(EndReason::Denied);
    }
    let slot = limits::begin(shared, snapshot, client).map_err(|_| EndReason::Limited)?;
    let key = client.masked(snapshot.client_mask);
    let (id, remembered) = match admission {
        Admission::Abuse | Admission::Refuse | Admission::Tarpit => (None, None),
        Admission::Admit => {
            let (id, remembered) = shared.clients.record_connect(key, snapshot.tracking);
            (Some(id), remembered)
        }
    };
    Ok((
        KnownClient::unlisted(client, key, stranger.port).with_id(id),
        slot,
        Welcome { admission, remembered },
    ))
}

/// How to serve a client.
#[derive(Debug, Clone, Copy)]
struct Welcome {
    /// Admit or Abuse.
    admission: Admission,
    /// The server that it had before.
    remembered: Option<usize>,
}

/// A client to be served.
struct Arrival {
    accepted: Accepted,
    welcome: Welcome,
    /// The header of a proxy.
    header: Option<Box<Header>>,
}

/// Reads the PROXY header at the beginning of a connection, and serves the client that it names.
async fn receive(mut session: Session, snapshot: Arc<Snapshot>, mut accepted: Accepted, required: bool) {
    let Stream::Plain(socket) = &mut accepted.stream else { return };
    let faults = &session.shared().proxy_faults;
    let header = match proxy::receive(socket, required, snapshot.timeout).await {
        Ok(header) => header,
        Err(fault) => {
            session.data.record.ends(EndReason::ProxyFailed);
            return faults.fault(session.connection().name(), &fault);
        }
    };
    faults.none(session.shared().now());
    // It may have changed since.
    let snapshot = session.shared().snapshot.load_full();
    let stranger = match header.addresses {
        Some(addresses) => {
            let (client, port) = (Client::new(addresses.source.ip()), Some(addresses.source.port()));
            KnownClient::unlisted(client, client, port)
        }
        None => *session.connection().client(),
    };
    let admitted = admit(session.shared(), &snapshot, stranger);
    session.connection().announce(admitted.as_ref().map_or(stranger, |(known, ..)| *known));
    let (slot, welcome) = match admitted {
        Ok((_, slot, welcome)) => (slot, welcome),
        Err(reason) => return session.data.record.ends(reason),
    };
    session.data.slot = slot;
    serve(session, snapshot, Box::new(Arrival { accepted, welcome, header: Some(Box::new(header)) })).await;
}

/// Serves a client to the end of the connection.
fn serve(
    session: Session,
    snapshot: Arc<Snapshot>,
    arrival: Box<Arrival>,
) -> SessionFuture<impl Future<Output = Option<Joined>>> {
    // Boxed: data that only the beginning needs is freed early.
    SessionFuture::Joining(Box::pin(join(session, snapshot, arrival)))
}

/// The future of a connection. An asynchronous function would hold its arguments to the end, and each byte counts here.
#[expect(clippy::large_enum_variant, reason = "almost all of its life it is the large one")]
enum SessionFuture<J> {
    /// It has no server yet.
    Joining(Pin<Box<J>>),
    Joined(Joined),
}

impl<J: Future<Output = Option<Joined>>> Future for SessionFuture<J> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let serving = self.get_mut();
        if let SessionFuture::Joining(joining) = serving {
            let Some(joined) = ready!(joining.as_mut().poll(cx)) else { return Poll::Ready(()) };
            joined.session.connection().wakes(cx.waker());
            *serving = SessionFuture::Joined(joined);
        }
        match serving {
            SessionFuture::Joined(joined) => joined.poll(cx),
            SessionFuture::Joining(_) => Poll::Pending,
        }
    }
}

/// A client with its server. Both sides are closed before the connection counts as ended.
struct Joined {
    relay: Relay<ConnectionMeter>,
    session: Session,
    /// Whether the filter of its requests only serves the request log.
    only_logs: bool,
}

impl Joined {
    #[inline]
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Joined { relay, session, only_logs } = self;
        if let Some(requests) = session.connection().take_requests() {
            if requests.look {
                follow(session, relay, *only_logs);
            }
            if requests.end {
                let reason = session.connection().asked_to_end();
                relay.end_soon(reason == Some(EndReason::ServerDown));
            }
        }
        let end = ready!(Pin::new(relay).poll(cx));
        if let Some(error) = end.shortage() {
            session.shared().reports.cut(session.connection().name(), error);
        }
        if let Some(reason) = end.reason() {
            session.data.record.ends(reason);
        }
        log::debug(2, format_args!("connection of {}: {end:?}", session.connection().name()));
        Poll::Ready(())
    }
}

/// Applies changes of the settings to a connection in progress, as in C pen: the request log, if its filter `only_logs`,
/// and settings that end a connection.
fn follow(session: &Session, relay: &mut Relay<ConnectionMeter>, only_logs: bool) {
    let snapshot = session.shared().snapshot.load();
    relay.change(snapshot.fastclose, idle_timeout(&snapshot));
    if let (true, Some(selected)) = (only_logs, session.data.selected.get()) {
        relay.show_to(filters(session, selected).request_log());
    }
}

/// Connects a client to a server; `None` when the connection ends before it has one.
async fn join(session: Session, snapshot: Arc<Snapshot>, arrival: Box<Arrival>) -> Option<Joined> {
    let Arrival { accepted: Accepted { stream, peer }, welcome: Welcome { admission, remembered }, header } =
        *arrival;
    if peer.is_some() {
        setup::set_options(&snapshot, &SockRef::from(&stream));
    }
    let Some(stream) = secured(&session, &snapshot, stream).await else {
        session.data.record.ends(EndReason::HandshakeFailed);
        return None;
    };
    // Boxed, like everything large that most connections do not need.
    if snapshot.content.dummy {
        Box::pin(dummy::serve(stream)).await;
        session.data.record.ends(EndReason::Dummy);
        return None;
    }
    let KnownClient { client, port, .. } = *session.connection().client();
    let port = port.unwrap_or(0);
    let mut caller = Caller { connection: session.connection(), stream, header };
    // Boxed, since the task is to be small as long as it has no server.
    let mut selection = Box::new(Selection::new(Arc::clone(&snapshot), client, port, remembered, admission));
    if let (Some(routes), Stream::Plain(socket)) = (&snapshot.sni_routes, &mut caller.stream)
        && admission == Admission::Admit
    {
        // Boxed, likewise.
        let name = Box::pin(client_hello::server_name(socket, snapshot.timeout)).await;
        selection.restrict(routes.servers(name.as_deref()));
    }
    let record = &session.data.record;
    let found = match connect::establish(record, &snapshot, &mut selection, &caller).await {
        Ok(None) => Box::pin(connect::by_queue(record, &snapshot, &mut selection, &caller)).await,
        Ok(Some(found)) => Ok(found),
        Err(failure) => Err(failure),
    };
    let (selected, server) = found.map_err(|failure| record.ends(failure.reason())).ok()?;
    // Set once: a connection has one server.
    let selected = session.data.selected.get_or_init(|| selected);
    if let Some(n) = selection.remembers(selected).filter(|n| remembered != Some(*n)) {
        session.shared().clients.remember(session.connection(), n, &selected.backend.stats);
    }
    let dumps = log::debug_level() >= dump::LEVEL;
    let relay = relay(&session, &snapshot, selected, caller, server, dumps);
    let only_logs = !snapshot.content.http && !dumps;
    Some(Joined { relay, session, only_logs })
}

/// The stream after the TLS handshake, if one is required; `None` when it has failed.
async fn secured(session: &Session, snapshot: &Snapshot, stream: Stream) -> Option<Stream> {
    let (tcp, server) = match (stream, &session.shared().tls) {
        (Stream::Plain(socket), Some(server)) if socket.is_tcp() => (socket, server),
        (stream, _) => return Some(stream),
    };
    let connection = session.connection();
    let (client, limit) = (connection.name(), snapshot.handshake_timeout);
    let handshake = Box::pin(tls::accept(server, tcp, tls::Handshake { client, limit })).await;
    let version = handshake.as_ref().map_or_else(|version| *version, |stream| stream.ssl().version_str());
    session.shared().handshakes.count(version, handshake.is_ok());
    let stream = handshake.ok()?;
    connection.secured(tls::session_of(stream.ssl()));
    Some(stream.into())
}

fn relay(
    session: &Session,
    snapshot: &Snapshot,
    selected: &Selected,
    client: Caller<'_>,
    server: Stream,
    dumps: bool,
) -> Relay<ConnectionMeter> {
    let meter = session.connection().connected(&selected.backend, server.as_raw_fd());
    let settings = RelaySettings {
        pipes: Some(session.shared().pipes.clone()),
        fastclose: snapshot.fastclose,
        idle: idle_timeout(snapshot),
    };
    let Caller { stream: client, header, .. } = client;
    let https = header.is_some_and(|header| header.tls) || matches!(client, Stream::Tls(_));
    let filter = filters(session, selected).chosen(snapshot, https, dumps);
    let mut relay = Relay::new(client, server, &settings, meter);
    relay.show_to(filter);
    relay
}

fn filters<'a>(session: &'a Session, selected: &'a Selected) -> Filters<'a> {
    let client = session.connection().client();
    Filters { log: &session.shared().log, client, backend: &selected.backend }
}

fn idle_timeout(snapshot: &Snapshot) -> Option<Duration> {
    (snapshot.idle_timeout > 0).then(|| Duration::from_millis(snapshot.idle_timeout))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The size of the future of an asynchronous function of three arguments.
    fn size<A, B, C, F>(_: fn(A, B, C) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn the_tasks_of_a_connection_are_small() {
        let (serve, join) = (size(serve), size(join));
        // With what tokio adds 384: an allocation for a task is a multiple of 128 bytes.
        assert!(serve <= 280, "{serve} bytes as long as it lasts");
        // Of the sizes that glibc serves, 144 and, with the counters of references, 224.
        let (data, connection) = (size_of::<SessionData>(), size_of::<Connection>());
        assert!(data <= 136 && connection <= 200, "{data} and {connection} bytes beside it");
        // Larger sizes are not served by the fast path of some allocators.
        assert!(join <= 1032, "{join} bytes as long as it has no server");
    }
}
