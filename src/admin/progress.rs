//! Detects a stalled connection: one whose client sends no complete request, or reads no more of a response, is closed.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};

/// The time of a connection's last step: a request, or a piece of a response that was read.
#[derive(Debug, Clone)]
pub(super) struct ConnectionProgress(Arc<Mutex<Instant>>);

impl ConnectionProgress {
    /// The progress of a new connection.
    pub(super) fn begin() -> Self {
        ConnectionProgress(Arc::new(Mutex::new(Instant::now())))
    }

    /// Records a step.
    pub(super) fn step(&self) {
        *self.0.lock() = Instant::now();
    }

    /// Runs `work` until `patience` has passed without a step. `None` in that case.
    pub(super) async fn watch<T>(&self, work: impl Future<Output = T>, patience: Duration) -> Option<T> {
        let mut work = pin!(work);
        loop {
            let last = *self.0.lock();
            match timeout_at(last + patience, work.as_mut()).await {
                Ok(done) => return Some(done),
                Err(_) if *self.0.lock() == last => return None,
                Err(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_millis(1);

    #[tokio::test]
    async fn work_goes_on_while_it_makes_steps() {
        let progress = ConnectionProgress::begin();
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
}
