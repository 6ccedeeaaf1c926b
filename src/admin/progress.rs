//! Detects a stalled connection: one whose client sends no complete request, or reads no more of a response, is closed;
//! while others wait, much sooner.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};

use crate::sys::connection_slots::ConnectionSlot;

/// The time of a connection's last step: a request, or a piece of a response that was read.
#[derive(Debug, Clone)]
pub(super) struct ConnectionProgress(Arc<ConnectionSteps>);

#[derive(Debug)]
struct ConnectionSteps {
    last: Mutex<Instant>,
    /// The client waits for pen.
    working: AtomicBool,
    slot: ConnectionSlot,
}

impl ConnectionProgress {
    /// The progress of a new connection, whose client has this slot.
    pub(super) fn begin(slot: ConnectionSlot) -> Self {
        ConnectionProgress(Arc::new(ConnectionSteps {
            last: Mutex::new(Instant::now()),
            working: AtomicBool::new(false),
            slot,
        }))
    }

    /// Records a step.
    pub(super) fn step(&self) {
        *self.0.last.lock() = Instant::now();
        self.0.working.store(false, Relaxed);
        self.0.slot.waits_for_client();
    }

    /// Records that the client waits for pen, until the next step.
    pub(super) fn works(&self) {
        self.0.working.store(true, Relaxed);
        self.0.slot.works();
    }

    /// Runs `work` until `patience` has passed without a step, or others need the slot. `None` in these cases.
    pub(super) async fn watch<T>(&self, work: impl Future<Output = T>, patience: Duration) -> Option<T> {
        let mut work = pin!(work);
        loop {
            let last = *self.0.last.lock();
            let done = tokio::select! {
                // Work that can go on does so before its client is found to be idle.
                biased;
                done = timeout_at(last + patience, work.as_mut()) => done,
                () = self.0.slot.evicted() => return None,
            };
            match done {
                Ok(done) => return Some(done),
                Err(_) => {
                    let mut seen = self.0.last.lock();
                    if *seen == last {
                        if !self.0.working.load(Relaxed) {
                            return None;
                        }
                        *seen = Instant::now();
                    }
                }
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
