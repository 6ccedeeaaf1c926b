//! Counters that all workers add to.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use std::marker::PhantomData;

use thread_local::ThreadLocal;

use super::settings::Keyword;

/// `N` counters. Each thread has its own, which no other thread writes, and reading sums them.
#[derive(Debug, Default)]
pub struct Counters<const N: usize>(ThreadLocal<Own<N>>);

/// Aligned so that no two threads write to the same cache line or to an adjacent one that is prefetched with it.
#[derive(Debug)]
#[repr(align(128))]
struct Own<const N: usize>([AtomicU64; N]);

impl<const N: usize> Default for Own<N> {
    fn default() -> Self {
        Own([const { AtomicU64::new(0) }; N])
    }
}

impl<const N: usize> Counters<N> {
    /// Adds one to counter `n`; ignored if there is no such counter.
    #[inline]
    pub fn count(&self, n: usize) {
        self.add(n, 1);
    }

    /// Adds to counter `n`, likewise.
    #[inline]
    pub fn add(&self, n: usize, amount: u64) {
        if let Some(counter) = self.0.get_or_default().0.get(n) {
            // Only this thread writes it, so no locked instruction is needed.
            counter.store(counter.load(Relaxed) + amount, Relaxed);
        }
    }

    /// The sums so far.
    pub fn totals(&self) -> [u64; N] {
        let mut totals = [0; N];
        for own in &self.0 {
            for (total, counter) in totals.iter_mut().zip(&own.0) {
                *total += counter.load(Relaxed);
            }
        }
        totals
    }
}

/// A counter for each word of `K`, which has `N` of them.
#[derive(Debug)]
pub struct WordCounters<K, const N: usize>(Counters<N>, PhantomData<K>);

impl<K, const N: usize> Default for WordCounters<K, N> {
    fn default() -> Self {
        WordCounters(Counters::default(), PhantomData)
    }
}

impl<K: Keyword, const N: usize> WordCounters<K, N> {
    /// Adds one to the counter of a word.
    pub fn count(&self, word: K) {
        self.0.count(word.index());
    }

    /// The sum of some counters.
    pub fn sum(&self, words: impl IntoIterator<Item = K>) -> u64 {
        let totals = self.0.totals();
        words.into_iter().filter_map(|word| totals.get(word.index())).sum()
    }

    /// The sum of all counters.
    pub fn total(&self) -> u64 {
        self.0.totals().iter().sum()
    }

    /// Each word and its count.
    pub fn read(&self) -> Vec<(&'static str, u64)> {
        K::WORDS.iter().copied().zip(self.0.totals()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::settings::ConnectionLogFormat;
    use std::thread;

    #[test]
    fn sums_are_exact_whichever_threads_count() {
        let counters = Counters::<3>::default();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for n in 0..3000 {
                        counters.count(n % 4);
                        counters.add(2, 10);
                    }
                });
            }
        });
        assert_eq!(counters.totals(), [3000, 3000, 3000 + 120_000]);
    }

    #[test]
    fn each_word_has_a_counter() {
        let counters = WordCounters::<ConnectionLogFormat, 2>::default();
        counters.count(ConnectionLogFormat::Json);
        counters.count(ConnectionLogFormat::Json);
        counters.count(ConnectionLogFormat::Text);
        assert_eq!(counters.read(), [("text", 1), ("json", 2)]);
        assert_eq!((counters.sum([ConnectionLogFormat::Json]), counters.total()), (2, 3));
    }

    #[test]
    fn no_two_threads_share_a_cache_line() {
        assert!(size_of::<Own<1>>() >= 128 && align_of::<Own<1>>() >= 128);
    }
}
