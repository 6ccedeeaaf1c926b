//! Waiting in the queue until a server has a free place.

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::core::Millis;
use crate::core::queue::{QueuePosition, QueueResult};
use crate::core::select::waiting::View;
use crate::core::select::{Selected, Selection};
use crate::net::connection_record::{ConnectionRecord, Wait};
use crate::net::connections::Connection;
use crate::net::shared::Shared;

/// A connection's time in the queue.
#[derive(Debug)]
pub(super) struct Queued<'a> {
    /// Its position, kept until a connect has succeeded; `None` when it no longer waits.
    position: Option<QueuePosition<'a, Selection>>,
    end: Instant,
}

impl Queued<'_> {
    /// Whether `queue_timeout` has passed.
    pub(super) fn is_over(&self) -> bool {
        Instant::now() >= self.end
    }
}

/// A wait in the queue. Its result is counted when it is dropped: [`QueueResult::Gone`] unless another one was set.
struct QueueWait<'a> {
    shared: &'a Shared,
    _wait: Wait<'a>,
    begin: Instant,
    result: QueueResult,
}

impl Drop for QueueWait<'_> {
    fn drop(&mut self) {
        self.shared.queue_counts.count(self.result, self.begin.elapsed());
    }
}

/// Waits for a free place at a server that may serve `selection`. `None` if the queue is full, the time is over, or no server can
/// serve it any more.
pub(super) async fn wait<'a>(
    record: &'a ConnectionRecord,
    selection: &mut Selection,
    queued: &mut Option<Queued<'a>>,
    connection: &Connection,
) -> Option<Selected> {
    let (shared, begin) = (&record.shared, Instant::now());
    let mut outcome = QueueWait { shared, _wait: record.wait(), begin, result: QueueResult::Gone };
    let view = || View { snapshot: shared.snapshot.load_full(), now: shared.now() };
    let snapshot = shared.snapshot.load_full();
    let Queued { position: place, end } = queued.get_or_insert_with(|| Queued {
        position: None,
        end: begin + Duration::from_millis(snapshot.queue_timeout),
    });
    let end = *end;
    let enter = |cx: &mut Context<'_>| {
        match place {
            Some(position) => {
                if !position.wait(selection.clone(), snapshot.queue_max, cx.waker(), view) {
                    *place = None;
                }
            }
            None => *place = shared.queue.join(selection.clone(), snapshot.queue_max, cx.waker(), view),
        }
        Poll::Ready(())
    };
    poll_fn(enter).await;
    let Some(position) = place else {
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
            if let Poll::Ready(found) = position.poll(cx.waker(), view, &mut again) {
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
