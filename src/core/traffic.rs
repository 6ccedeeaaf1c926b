//! Bytes sent to and received from a server, counted for every message.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use thread_local::ThreadLocal;

/// Two counters that all workers add to. Each thread has its own pair, which no other thread writes, and reading sums
/// the pairs: the cores would contend for a shared pair with every message.
#[derive(Debug, Default)]
pub struct Traffic(ThreadLocal<Pair>);

/// Aligned so that no two threads write to the same cache line or to an adjacent one that is prefetched with it.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Pair {
    sent: AtomicU64,
    received: AtomicU64,
}

impl Traffic {
    /// Adds bytes sent to the server.
    pub fn add_sent(&self, bytes: u64) {
        add(&self.0.get_or_default().sent, bytes);
    }

    /// Adds bytes received from the server.
    pub fn add_received(&self, bytes: u64) {
        add(&self.0.get_or_default().received, bytes);
    }

    /// Bytes sent to the server and received from it so far.
    pub fn totals(&self) -> (u64, u64) {
        let pairs = self.0.iter().map(|pair| (pair.sent.load(Relaxed), pair.received.load(Relaxed)));
        pairs.fold((0, 0), |sum, pair| (sum.0 + pair.0, sum.1 + pair.1))
    }
}

/// Adds to a counter that only this thread writes, without a locked instruction.
fn add(counter: &AtomicU64, bytes: u64) {
    counter.store(counter.load(Relaxed) + bytes, Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn the_sum_is_exact_whichever_threads_count() {
        let traffic = Traffic::default();
        for _ in 0..2 {
            thread::scope(|scope| {
                for n in 1..=4 {
                    let traffic = &traffic;
                    scope.spawn(move || {
                        for _ in 0..1000 {
                            traffic.add_sent(n);
                            traffic.add_received(10 * n);
                        }
                    });
                }
            });
        }
        assert_eq!(traffic.totals(), (20_000, 200_000));
    }

    #[test]
    fn no_two_threads_share_a_cache_line() {
        assert!(size_of::<Pair>() >= 128 && align_of::<Pair>() >= 128);
    }
}
