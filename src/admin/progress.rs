//! Whether a connection moves: one whose client sends no whole request, or takes no more of an answer, is closed.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};

/// When a connection made its last step: a request, or a piece of an answer that was taken.
#[derive(Debug, Clone)]
pub(super) struct Progress(Arc<Mutex<Instant>>);

impl Progress {
    /// Of a connection that begins.
    pub(super) fn begin() -> Self {
        Progress(Arc::new(Mutex::new(Instant::now())))
    }

    /// A step was made.
    pub(super) fn step(&self) {
        *self.0.lock() = Instant::now();
    }

    /// Waits for `work`, but no longer than `patience` without a step. `None` when that was the end.
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
        let progress = Progress::begin();
        // Nothing wakes it: it goes on because the watch looks at it again.
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
