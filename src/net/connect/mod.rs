//! Connecting to servers: finds one that accepts a client's connection.

mod addresses;
mod attempt;
pub mod failure;
pub mod reports;
pub mod setup;
mod waiting;

use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::core::Millis;
use crate::core::alpn;
use crate::core::end_reason::EndReason;
use crate::core::error::SystemReason;
use crate::core::select::{Next, Selected, Selection};
use crate::core::snapshot::{Backend, Snapshot};
use crate::sys::log;

use super::connection_record::ConnectionRecord;
use super::proxy::Caller;
use super::shared::Shared;
use super::stream::Stream;
use addresses::Seeker;
pub(super) use attempt::attempt;
use failure::{Failure, Origin};
use waiting::Queued;

/// How long pen waits for a connection to end when it is out of descriptors, here and in accepting.
pub const SHORTAGE_PAUSE: Duration = Duration::from_millis(500);
/// How often it waits for one client: half a minute in total.
const SHORTAGE_TRIES: u32 = 60;

/// How many connect timeouts pen spends on finding a server for a client that has closed its direction without sending
/// anything. The client may wait for a server that speaks first, as `nc HOST PORT </dev/null` does, and cannot be
/// distinguished from one that has gone: the time suffices for one server that does not answer, and for another one.
const PATIENCE: Millis = 2;

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
    let search = pin!(search(record, &seeker, selection, || None));
    while_present(&caller.stream, patience(snapshot), search).await?
}

/// The same where servers are full: waits for a place, as often as a server that had one then fails.
///
/// # Errors
/// As [`establish`].
pub(in crate::net) async fn by_queue(
    record: &ConnectionRecord,
    snapshot: &Snapshot,
    selection: &mut Selection,
    caller: &Caller<'_>,
) -> Result<(Selected, Stream), Failure> {
    let Caller { connection, stream: client, .. } = caller;
    let seeker = seeker(record, snapshot, caller);
    let mut queued = None;
    loop {
        // Whoever leaves before there is a server has mostly lost patience with the wait: there is no reason to wait for longer.
        let wait = Box::pin(waiting::wait(record, selection, &mut queued, connection));
        let given = while_present(client, 0, wait).await?;
        let search = Box::pin(search(record, &seeker, selection, || given));
        match while_present(client, patience(snapshot), search).await? {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => {}
            Err(failure) => {
                if failure.reason() == EndReason::NoServer && queued.is_some_and(Queued::is_over) {
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
    Seeker { shared: &record.shared, snapshot, caller, alpn }
}

/// How long pen goes on looking for a server for a client that may have gone.
fn patience(snapshot: &Snapshot) -> Millis {
    snapshot.timeout.saturating_mul(PATIENCE)
}

/// The outcome of a future, unless the client gives up before: that it has is an error.
struct WhilePresent<'a, F> {
    future: F,
    client: &'a Stream,
    patience: Millis,
    /// Boxed: it is large, and most connections have no need of it for long.
    client_gone: Option<Pin<Box<dyn Future<Output = ()> + Send + 'a>>>,
}

impl<F: Future + Unpin> Future for WhilePresent<'_, F> {
    type Output = Result<F::Output, Failure>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        // A server that is near is there before anything is spent on watching the client.
        if let Poll::Ready(found) = Pin::new(&mut this.future).poll(cx) {
            return Poll::Ready(Ok(found));
        }
        let (client, patience) = (this.client, Duration::from_millis(this.patience));
        let client_gone = this.client_gone.get_or_insert_with(|| Box::pin(client.abandoned(patience)));
        client_gone.as_mut().poll(cx).map(|()| Err(Failure::client_gone()))
    }
}

fn while_present<F>(client: &Stream, patience: Millis, future: F) -> WhilePresent<'_, F> {
    WhilePresent { future, client, patience, client_gone: None }
}

/// Begins with the server that was `given` in the queue, if there is one. `None` where servers are full and the client is to wait
/// for one of them.
async fn search(
    record: &ConnectionRecord,
    seeker: &Seeker<'_>,
    selection: &mut Selection,
    given: impl FnOnce() -> Option<Selected>,
) -> Result<Option<(Selected, Stream)>, Failure> {
    let snapshot = seeker.snapshot;
    let mut last = None;
    let mut next = given().map_or_else(|| step(&record.shared, snapshot, selection), Next::Server);
    loop {
        let selected = match next {
            Next::Server(selected) => selected,
            Next::Full => return Ok(None),
            Next::None => break,
        };
        // Held until the result of the connect is known: if the server fails, no other connect to it should begin.
        let wait = record.wait();
        let place = selected.backend.stats.connecting.take(snapshot.pending_max).await;
        drop(wait);
        if place.is_none() {
            // The server has failed while this connection waited.
            next = step(&record.shared, snapshot, selection);
            continue;
        }
        record.attempt();
        match connect(seeker, &selected.backend).await {
            Ok(stream) => {
                selected.backend.stats.connect_times.record(record.connected());
                works(&record.shared, &selected.backend);
                drop(place);
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

/// The next server. Full where the client is to wait: nobody overtakes those who do.
fn step(shared: &Shared, snapshot: &Snapshot, selection: &mut Selection) -> Next {
    if selection.wants_regular() && shared.queue.waiting() > 0 {
        return Next::Full;
    }
    match selection.step(shared.now()) {
        Next::Full if snapshot.queue_max == 0 => {
            selection.next(shared.now()).map_or(Next::None, Next::Server)
        }
        next => next,
    }
}

/// Connects to a server. If the system is out of descriptors or memory, waits for some, since the client is already
/// accepted and the server has not failed. Gives up in the end if the shortage does not end with connections.
async fn connect(seeker: &Seeker<'_>, backend: &Backend) -> Result<Stream, Failure> {
    let mut tries = SHORTAGE_TRIES;
    loop {
        match addresses::connect(seeker, backend).await {
            Err(failure) if failure.origin == Origin::Shortage && tries > 0 => {
                seeker.shared.reports.shortage(&failure);
                tries -= 1;
            }
            result => return result,
        }
        _ = Box::pin(tokio::time::timeout(SHORTAGE_PAUSE, seeker.shared.connections.freed())).await;
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
            backend.stats.note_failure(&SystemReason(&failure.error).to_string());
            let news = selection.failed(selected, shared.now());
            if backend.role.slot().is_none() || snapshot.blacklist == 0 {
                shared.reports.unreachable(backend, failure);
            } else if news {
                let (seconds, reason) = (snapshot.blacklist / 1000, SystemReason(&failure.error));
                log::warn(format_args!("blacklisting {backend} for {seconds} s: {reason}"));
                shared.state_changes.note(backend, Some(&reason.to_string()), shared.now());
            }
        }
        Origin::Internal => shared.reports.unreachable(backend, failure),
        Origin::Shortage => shared.reports.shortage(failure),
        Origin::Downstream => {}
    }
}
