//! How long something takes on a machine that others use too.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::wait::pause;

/// What a pause may take and still count in full. One that takes longer was kept from going on, as pen was then.
const LONGEST: Duration = Duration::from_millis(4);

/// Measures what something may take at most: a clock that stands still while the machine does. It adds up pauses of a
/// thread of its own, and what one of them takes beyond [`LONGEST`] does not count.
pub(crate) struct Stopwatch {
    microseconds: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        let (microseconds, over) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (sum, stop) = (Arc::clone(&microseconds), Arc::clone(&over));
        let mut last = Instant::now();
        let thread = thread::spawn(move || {
            while !stop.load(Relaxed) {
                pause();
                let now = Instant::now();
                let counted = (now - last).min(LONGEST);
                last = now;
                sum.fetch_add(u64::try_from(counted.as_micros()).unwrap(), Relaxed);
            }
        });
        Stopwatch { microseconds, over, thread: Some(thread) }
    }

    /// What has passed, without what the machine was away: never more than on a clock.
    pub(crate) fn elapsed(&self) -> Duration {
        Duration::from_micros(self.microseconds.load(Relaxed))
    }

    /// Asserts that less has passed.
    #[track_caller]
    pub(crate) fn is_below(&self, bound: Duration) {
        let elapsed = self.elapsed();
        assert!(elapsed < bound, "{elapsed:?}, where less than {bound:?} was expected");
    }
}

impl Drop for Stopwatch {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            _ = thread.join();
        }
    }
}
