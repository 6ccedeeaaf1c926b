//! Detects a stalled connection: one whose client sends no complete request, or reads no more of a response, is closed;
//! while others wait, much sooner.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::sys::connection_slots::ConnectionSlot;

/// The progress of a connection, whose slot has the time of its last step: a request, or a piece of a response that was read.
#[derive(Debug, Clone)]
pub(super) struct ConnectionProgress(Arc<ConnectionSlot>);

impl ConnectionProgress {
    /// The progress of a new connection, whose client has this slot.
    pub(super) fn begin(slot: ConnectionSlot) -> Self {
        ConnectionProgress(Arc::new(slot))
    }

    /// Records a step.
    pub(super) fn step(&self) {
        self.0.waits_for_client();
    }

    /// Records that the client waits for pen, until the next step.
    pub(super) fn works(&self) {
        self.0.works();
    }

    /// Runs `work` until `patience` has passed without a step, or others need the slot. `None` in these cases.
    pub(super) async fn watch<T>(&self, work: impl Future<Output = T>, patience: Duration) -> Option<T> {
        let mut work = pin!(work);
        loop {
            let silent_since = self.0.silent_since();
            let deadline = silent_since.unwrap_or_else(Instant::now) + patience;
            let done = tokio::select! {
                // Work that can go on does so before its client is found to be idle.
                biased;
                done = timeout_at(deadline, work.as_mut()) => done,
                () = self.0.evicted() => return None,
            };
            match done {
                Ok(done) => return Some(done),
                Err(_) if silent_since.is_some() && self.0.silent_since() == silent_since => return None,
                Err(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::sys::connection_slots::ConnectionSlots;

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(1);

    #[tokio::test]
    async fn work_goes_on_while_it_makes_steps() {
        let slots = ConnectionSlots::new(1, PATIENCE);
        let progress = ConnectionProgress::begin(slots.take().await);
        // Nothing wakes it: it advances because the watch polls it again.
        let mut left = 9;
        let steps = std::future::poll_fn(|_| {
            progress.step();
            left -= 1;
            if left == 0 { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        });
        assert_eq!(progress.watch(steps, PATIENCE).await, Some(()));
        assert_eq!(progress.watch(std::future::pending::<()>(), PATIENCE).await, None);
    }

    #[tokio::test]
    async fn a_client_that_waits_for_pen_is_not_slow() {
        let slots = ConnectionSlots::new(1, PATIENCE);
        let progress = ConnectionProgress::begin(slots.take().await);
        progress.works();
        let work = tokio::time::sleep(20 * PATIENCE);
        assert_eq!(progress.watch(work, PATIENCE).await, Some(()));
        progress.works();
        let other = tokio::time::timeout(20 * PATIENCE, slots.take());
        let work = async { other.await.is_err() };
        assert_eq!(progress.watch(work, PATIENCE).await, Some(true), "its slot was taken");
        progress.step();
        assert_eq!(progress.watch(std::future::pending::<()>(), PATIENCE).await, None);
    }

    #[tokio::test]
    async fn work_without_steps_ends_when_another_client_waits() {
        let slots = ConnectionSlots::new(1, PATIENCE);
        let progress = ConnectionProgress::begin(slots.take().await);
        let work = progress.watch(std::future::pending::<()>(), Duration::from_hours(1));
        let (ended, _slot) = tokio::join!(work, slots.take());
        assert_eq!(ended, None);
    }
}
