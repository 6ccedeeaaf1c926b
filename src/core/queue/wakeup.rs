//! How those who wait in the queue learn that a server may have a place for one of them.

use parking_lot::{Mutex, ReentrantMutex, ReentrantMutexGuard};
use std::sync::atomic::{
    AtomicBool, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
    fence,
};
use std::task::Waker;

/// Wakes the first in the queue. Who changes a server does it by way of this; while nobody waits that costs no lock.
#[derive(Debug, Default)]
pub struct Wakeup {
    waiting: AtomicUsize,
    changed: AtomicBool,
    first: Mutex<Option<Waker>>,
    /// Held while those who wait look, one after the other: a place that became free meanwhile would go to a later one.
    looking: ReentrantMutex<()>,
}

impl Wakeup {
    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }

    /// A server has a place that it had not, by `change`.
    pub fn frees<T>(&self, change: impl FnOnce() -> T) -> T {
        let looking = (self.waiting() > 0).then(|| self.looking.lock());
        let result = change();
        drop(looking);
        // Pairs with the one of `set`: either this sees that somebody waits, or he sees the free place when he looks.
        fence(SeqCst);
        if self.waiting() > 0
            && let Some(first) = &*self.first.lock()
        {
            first.wake_by_ref();
        }
        result
    }

    /// A server is another one for some clients, by `change`: it came up or went down, or a setting has changed. Whoever waits
    /// looks whether there is still something to wait for.
    pub fn changes<T>(&self, change: impl FnOnce() -> T) -> T {
        self.frees(|| {
            let result = change();
            self.changed.store(true, SeqCst);
            result
        })
    }

    /// Nothing becomes free while this is held. True when [`Wakeup::changes`] was called since this was last.
    pub(super) fn look(&self) -> (ReentrantMutexGuard<'_, ()>, bool) {
        let looking = self.looking.lock();
        let changed = self.changed.swap(false, SeqCst);
        (looking, changed)
    }

    /// So many wait now, and this wakes the first of them.
    pub(super) fn set(&self, waiting: usize, first: Option<Waker>) {
        *self.first.lock() = first;
        self.waiting.store(waiting, Relaxed);
        fence(SeqCst);
    }
}
