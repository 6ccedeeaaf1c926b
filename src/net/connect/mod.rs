//! Connecting to servers: finds one that takes a client's connection.

mod addresses;
mod attempt;
pub mod failure;
pub mod reports;
pub mod setup;

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use crate::core::alpn;
use crate::core::error::SystemReason;
use crate::core::select::{Selected, Selection};
use crate::core::snapshot::{Backend, Snapshot};
use crate::sys::log;

use super::connection_record::ConnectionRecord;
use super::shared::Shared;
use super::stream::Stream;
use addresses::Seeker;
pub(super) use attempt::attempt;
use failure::{Failure, Origin};

/// How long pen that is out of descriptors waits for a connection to end before it looks again, here and in accepting.
pub const SHORTAGE_PAUSE: Duration = Duration::from_millis(500);
/// How often it looks for one client: half a minute.
const SHORTAGE_TRIES: u32 = 60;

/// For how many times the timeout of a connect pen goes on looking for a server for a client that has ended its direction without
/// having sent anything. It may wait for a server that speaks first, as `nc HOST PORT </dev/null` does, and nothing tells it from one
/// that has gone: there is time for a server that does not answer, and for another one.
const PATIENCE: u32 = 2;

/// Finds a server that takes the connection: tries each that `selection` names until one does. Ends when `client` gives up
/// before there is one.
///
/// # Errors
/// No server took it, or the client has gone.
pub(super) async fn establish(
    record: &ConnectionRecord,
    snapshot: &Snapshot,
    selection: &mut Selection,
    client: &Stream,
) -> Result<(Selected, Stream), Failure> {
    // What the client speaks is what the server is to speak.
    let http = snapshot.content.http.then_some(alpn::HTTP.as_bytes());
    let alpn = client.alpn().or(http);
    let seeker = Seeker { shared: &record.shared, snapshot, client: selection.client().ip(), alpn };
    let mut search = pin!(search(record, &seeker, selection));
    // A server that is near is there before anything is spent on watching the client.
    if let Poll::Ready(found) = poll_fn(|cx| Poll::Ready(search.as_mut().poll(cx))).await {
        return found;
    }
    // Boxed: it is large, and most connections have no need of it for long.
    let patience = Duration::from_millis(snapshot.timeout).saturating_mul(PATIENCE);
    let client_gone = Box::pin(client.abandoned(patience));
    tokio::select! {
        biased;
        found = search => found,
        () = client_gone => Err(Failure::client_gone()),
    }
}

async fn search(
    record: &ConnectionRecord,
    seeker: &Seeker<'_>,
    selection: &mut Selection,
) -> Result<(Selected, Stream), Failure> {
    let snapshot = seeker.snapshot;
    let mut last = None;
    while let Some(selected) = selection.next(record.shared.now()) {
        // Held until it is known what became of the connect: with a server that fails nobody else is to begin.
        record.waits();
        let place = selected.backend.stats.connecting.take(snapshot.pending_max).await;
        record.waited();
        if place.is_none() {
            // The server has turned out to fail while this one waited.
            continue;
        }
        record.attempt();
        match connect(seeker, &selected.backend).await {
            Ok(stream) => {
                selected.backend.stats.connect_times.record(record.connected());
                works(&record.shared, &selected.backend);
                drop(place);
                return Ok((selected, stream));
            }
            Err(failure) => {
                failed(&record.shared, snapshot, selection, &selected, &failure);
                if !failure.allows_next() {
                    return Err(failure);
                }
                last = Some(failure);
            }
        }
    }
    record.shared.reports.no_server(selection.why_none(record.shared.now()));
    Err(last.unwrap_or_else(Failure::no_server))
}

/// Connects to a server. Where the system is out of descriptors or memory, waits for some, since the client is accepted
/// already and the server is not to blame. Gives up in the end, when the shortage is none that ends with a connection.
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

/// The server works.
pub(super) fn works(shared: &Shared, backend: &Backend) {
    if backend.stats.works() {
        log::info(format_args!("{backend} works again"));
    }
    shared.reports.connected(backend);
}

/// The server could not be reached. If that is its failure it is left out, which is reported once each time.
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
            }
        }
        Origin::Internal => shared.reports.unreachable(backend, failure),
        Origin::Shortage => shared.reports.shortage(failure),
        Origin::Downstream => {}
    }
}
