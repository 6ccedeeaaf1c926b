//! Waiting in the queue until a server has a place.

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::core::Millis;
use crate::core::queue::{QueueResult, Ticket};
use crate::core::select::waiting::View;
use crate::core::select::{Selected, Selection};
use crate::net::connection_record::{ConnectionRecord, Wait};
use crate::net::connections::Connection;
use crate::net::shared::Shared;

/// A connection's time in the queue.
#[derive(Debug)]
pub(super) struct Queued<'a> {
    /// Its place, which it keeps as long as the server that it was given may fail; none when it waits no more.
    ticket: Option<Ticket<'a, Selection>>,
    end: Instant,
}

impl Queued<'_> {
    /// Whether the time is over.
    pub(super) fn is_over(&self) -> bool {
        Instant::now() >= self.end
    }
}

/// Counts how a wait has ended, and [`QueueResult::Gone`] if it is dropped before.
struct Outcome<'a> {
    shared: &'a Shared,
    _wait: Wait<'a>,
    begin: Instant,
    result: QueueResult,
}

impl Drop for Outcome<'_> {
    fn drop(&mut self) {
        self.shared.queue_counts.count(self.result, self.begin.elapsed());
    }
}

/// Waits for a place at a server that may serve `selection`. `None` where there is none to be had: the queue is full, the time
/// is over, or nothing is left to wait for.
pub(super) async fn wait<'a>(
    record: &'a ConnectionRecord,
    selection: &mut Selection,
    queued: &mut Option<Queued<'a>>,
    connection: &Connection,
) -> Option<Selected> {
    let (shared, begin) = (&record.shared, Instant::now());
    let mut outcome = Outcome { shared, _wait: record.wait(), begin, result: QueueResult::Gone };
    let view = || View { snapshot: shared.snapshot.load_full(), now: shared.now() };
    let snapshot = shared.snapshot.load_full();
    let Queued { ticket: place, end } = queued.get_or_insert_with(|| Queued {
        ticket: None,
        end: begin + Duration::from_millis(snapshot.queue_timeout),
    });
    let end = *end;
    let enter = |cx: &mut Context<'_>| {
        match place {
            Some(ticket) => {
                if !ticket.wait(selection.clone(), snapshot.queue_max, cx.waker(), view) {
                    *place = None;
                }
            }
            None => *place = shared.queue.join(selection.clone(), snapshot.queue_max, cx.waker(), view),
        }
        Poll::Ready(())
    };
    poll_fn(enter).await;
    let Some(ticket) = place else {
        outcome.result = QueueResult::Full;
        shared.reports.queue_full(snapshot.queue_max);
        selection.pass_over_full();
        return None;
    };
    drop(snapshot);
    shared.reports.queued();
    connection.waits();
    let mut timer = pin!(sleep_until(end));
    let mut again = None;
    let found = poll_fn(|cx| {
        loop {
            if let Poll::Ready(found) = ticket.poll(cx.waker(), view, &mut again) {
                return Poll::Ready(Some(found));
            }
            let now = Instant::now();
            if now >= end {
                return Poll::Ready(None);
            }
            let look =
                again.map(|at: Millis| now + Duration::from_millis(at.saturating_sub(shared.now()) + 1));
            timer.as_mut().reset(look.map_or(end, |look| look.min(end)));
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    })
    .await;
    connection.has_waited(shared.now());
    let (result, selected) = match found {
        Some((searched, selected)) => {
            *selection = searched;
            (if selected.is_some() { QueueResult::Served } else { QueueResult::NoServer }, selected)
        }
        None => (QueueResult::TimedOut, None),
    };
    outcome.result = result;
    if selected.is_none() {
        *place = None;
        selection.pass_over_full();
    }
    selected
}
