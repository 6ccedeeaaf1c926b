//! A waker for tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::Wake;

/// Counts how often it was woken.
#[derive(Default)]
pub(in crate::core) struct CountingWaker(AtomicUsize);

impl CountingWaker {
    /// How often it was woken since the last call.
    pub(in crate::core) fn take(&self) -> usize {
        self.0.swap(0, Relaxed)
    }
}

impl Wake for CountingWaker {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}
