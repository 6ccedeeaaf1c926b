//! Connecting to servers: finds one that accepts a client's connection.

mod addresses;
mod attempt;
pub mod failure;
mod presence;
pub mod reports;
pub mod setup;
pub mod shortage;
mod waiting;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::OnceLock;
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;

use crate::core::alpn;
use crate::core::end_reason::EndReason;
use crate::core::error::SystemReason;
use crate::core::select::{SearchStep, Selected, Selection};
use crate::core::snapshot::{Backend, Snapshot};
use crate::sys::log;

use super::connection_record::ConnectionRecord;
use super::proxy::Caller;
use super::shared::Shared;
use super::stream::Stream;
use addresses::Seeker;
pub(super) use attempt::{HandshakeAck, attempt};
use failure::{Failure, Origin};
use presence::ClientWait;
use shortage::{SHORTAGE_PAUSE, ShortagePosition};

/// How long pen waits for a descriptor for one client.
const SHORTAGE_MAX: Duration = Duration::from_secs(30);

/// Finds a server that takes the connection: tries each that `selection` names until one does. `None` where servers are full and the
/// client is to wait for one of them, see [`by_queue`]. Ends when `caller` gives up before there is one.
///
/// # Errors
/// No server accepted it, or the client has gone.
pub(in crate::net) async fn establish(
    record: &ConnectionRecord,
    snapshot: &Snapshot,
    selection: &mut Selection,
    caller: &Caller<'_>,
) -> Result<Option<(Selected, Stream)>, Failure> {
    let seeker = seeker(record, snapshot, caller);
    search(record, &seeker, selection, || None).await
}

/// The same where servers are full: waits in the queue, again if the server that it was given fails.
///
/// # Errors
/// As [`establish`].
pub(in crate::net) async fn by_queue(
    record: &ConnectionRecord,
    snapshot: &Snapshot,
    selection: &mut Selection,
    caller: &Caller<'_>,
) -> Result<(Selected, Stream), Failure> {
    let seeker = seeker(record, snapshot, caller);
    let mut queued = None;
    loop {
        let mut wait = Box::pin(waiting::wait(record, selection, &mut queued, caller.connection));
        let given = seeker.during(ClientWait::ForTurn, wait.as_mut()).await?;
        drop(wait);
        match Box::pin(search(record, &seeker, selection, || given)).await {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => {}
            Err(failure) => {
                if failure.reason() == EndReason::NoServer && queued.is_some_and(|queued| queued.is_over()) {
                    record.ends(EndReason::QueueTimeout);
                }
                return Err(failure);
            }
        }
    }
}

fn seeker<'a>(record: &'a ConnectionRecord, snapshot: &'a Snapshot, caller: &'a Caller<'a>) -> Seeker<'a> {
    // What the client speaks is what the server is to speak.
    let http = snapshot.content.http.then_some(alpn::HTTP.as_bytes());
    let alpn = caller.stream.alpn().or(http);
    Seeker { shared: &record.shared, snapshot, caller, alpn, ended: OnceLock::new(), is_short: false.into() }
}

/// Tries the server that the queue has `given` first, if there is one. `None` if the servers are full and the client has to wait
/// in the queue.
async fn search(
    record: &ConnectionRecord,
    seeker: &Seeker<'_>,
    selection: &mut Selection,
    given: impl FnOnce() -> Option<Selected>,
) -> Result<Option<(Selected, Stream)>, Failure> {
    let snapshot = seeker.snapshot;
    let mut last = None;
    let mut next = given().map_or_else(|| step(&record.shared, snapshot, selection), SearchStep::Server);
    loop {
        let selected = match next {
            SearchStep::Server(selected) => selected,
            SearchStep::Full => return Ok(None),
            SearchStep::None => break,
        };
        // Held until the result of the connect is known: if the server fails, no other connect to it should begin.
        let permits = &selected.backend.stats.connecting;
        let permit = {
            let _wait = record.wait();
            let permit = pin!(permits.acquire(snapshot.pending_max));
            seeker.during(ClientWait::ForTurn, permit).await?
        };
        if permit.is_none() {
            // The server has failed while this connection waited.
            next = step(&record.shared, snapshot, selection);
            continue;
        }
        record.attempt();
        let connected = {
            let connecting = pin!(connect(seeker, &selected.backend));
            seeker.during(ClientWait::ForServer(permits), connecting).await?
        };
        match connected {
            Ok(stream) => {
                selected.backend.stats.connect_times.record(record.connected());
                works(&record.shared, &selected.backend);
                drop(permit);
                return Ok(Some((selected, stream)));
            }
            Err(failure) => {
                failed(&record.shared, snapshot, selection, &selected, &failure);
                if !failure.allows_next() {
                    return Err(failure);
                }
                last = Some(failure);
            }
        }
        next = step(&record.shared, snapshot, selection);
    }
    record.shared.reports.no_server(selection.why_none(record.shared.now()));
    Err(last.unwrap_or_else(Failure::no_server))
}

/// The next server. `Full` if the client has to wait, also behind those that already wait: they are served in order.
fn step(shared: &Shared, snapshot: &Snapshot, selection: &mut Selection) -> SearchStep {
    if selection.wants_regular() && shared.queue.waiting() > 0 {
        return SearchStep::Full;
    }
    match snapshot.queue_max {
        0 => selection.next(shared.now()).map_or(SearchStep::None, SearchStep::Server),
        _ => selection.step(shared.now()),
    }
}

/// Connects to a server. If the system is out of descriptors or memory, waits for some, since the client is already
/// accepted and the server has not failed. Gives up in the end if the shortage does not end with connections, or when others wait
/// for what this client holds.
async fn connect(seeker: &Seeker<'_>, backend: &Backend) -> Result<Stream, Failure> {
    match addresses::connect(seeker, backend).await {
        // Boxed: it is large, and most connections do not need it.
        Err(failure) if failure.origin == Origin::Shortage => {
            Box::pin(connect_when_possible(seeker, backend, failure)).await
        }
        result => result,
    }
}

/// Connects after a shortage, which was the reason of `failure`.
async fn connect_when_possible(
    seeker: &Seeker<'_>,
    backend: &Backend,
    mut failure: Failure,
) -> Result<Stream, Failure> {
    let shared = seeker.shared;
    let end = Instant::now() + SHORTAGE_MAX;
    let mut position = seeker.wait_for_descriptor(&failure);
    // Clients may be accepted again.
    let waits_no_longer = |position: &mut Option<ShortagePosition<'_>>| {
        if position.take().is_some() {
            shared.connections.look_again();
        }
    };
    loop {
        shared.reports.shortage(&failure);
        let freed = tokio::time::timeout(SHORTAGE_PAUSE, shared.connections.freed()).await;
        let mut attempt = pin!(addresses::connect(seeker, backend));
        // Without a descriptor it fails at once. One that waits for the server, perhaps for long, holds up no others.
        let result = match poll_fn(|cx| Poll::Ready(attempt.as_mut().poll(cx))).await {
            Poll::Ready(result) => result,
            Poll::Pending => {
                waits_no_longer(&mut position);
                attempt.await
            }
        };
        match result {
            Err(again) if again.origin == Origin::Shortage => failure = again,
            result => {
                waits_no_longer(&mut position);
                return result;
            }
        }
        if position.is_none() {
            position = seeker.wait_for_descriptor(&failure);
        }
        let now = Instant::now();
        // Wake-ups for what others gave back do not count: another client has taken it.
        let gives_way = freed.is_err() && position.as_ref().is_some_and(|position| position.gives_way(now));
        if now >= end || gives_way {
            return Err(failure);
        }
    }
}

/// Records that the server works.
pub(super) fn works(shared: &Shared, backend: &Backend) {
    if backend.stats.works() {
        log::info(format_args!("{backend} works again"));
        shared.state_changes.note(backend, None, shared.now());
    }
    shared.reports.connected(backend);
}

/// Records a failed connect. If it is the server's failure, the server is blacklisted, which is reported once each
/// time.
pub(super) fn failed(
    shared: &Shared,
    snapshot: &Snapshot,
    selection: &Selection,
    selected: &Selected,
    failure: &Failure,
) {
    let backend = &selected.backend;
    log::debug(1, format_args!("connecting to {backend}: {}", failure.error));
    match failure.origin {
        Origin::Upstream => {
            shared.failures.tell(backend);
            let reason = SystemReason(&failure.error).to_string();
            backend.stats.note_failure(&reason);
            let news = selection.failed(selected, shared.now());
            if backend.role.slot().is_none() || snapshot.blacklist == 0 {
                shared.reports.unreachable(backend, failure);
            } else if news {
                let seconds = snapshot.blacklist / 1000;
                log::warn(format_args!("blacklisting {backend} for {seconds} s: {reason}"));
                shared.state_changes.note(backend, Some(&reason), shared.now());
            }
        }
        Origin::Internal => shared.reports.unreachable(backend, failure),
        Origin::Shortage => shared.reports.shortage(failure),
        Origin::Downstream => {}
    }
}
