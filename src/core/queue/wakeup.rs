//! Wakes the first waiter of the queue when a server may have a free place.

use parking_lot::{Mutex, ReentrantMutex, ReentrantMutexGuard};
use std::sync::atomic::{
    AtomicBool, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
    fence,
};
use std::task::Waker;

/// Wakes the first waiter of the queue. All changes of servers that may free a place go through it; while no connection waits, that
/// takes no lock.
#[derive(Debug, Default)]
pub struct Wakeup {
    waiting: AtomicUsize,
    changed: AtomicBool,
    first: Mutex<Option<Waker>>,
    /// Locked during a search for all waiters: a place that became free in the middle would go to a later waiter.
    looking: ReentrantMutex<()>,
}

impl Wakeup {
    /// The number of waiters.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }

    /// Makes a `change` that may free a place, and wakes the first waiter.
    pub fn frees<T>(&self, change: impl FnOnce() -> T) -> T {
        let looking = (self.waiting() > 0).then(|| self.looking.lock());
        let result = change();
        drop(looking);
        // Pairs with the fence of `set`: either this thread sees the waiter, or the waiter sees the free place when it searches.
        fence(SeqCst);
        if self.waiting() > 0
            && let Some(first) = &*self.first.lock()
        {
            first.wake_by_ref();
        }
        result
    }

    /// Makes a `change` that affects which clients a server may serve: its health, its blacklist state or a setting. All waiters search
    /// again, since some may have nothing left to wait for.
    pub fn changes<T>(&self, change: impl FnOnce() -> T) -> T {
        self.frees(|| {
            let result = change();
            self.changed.store(true, SeqCst);
            result
        })
    }

    /// Begins a search: no place becomes free while the guard is held. True if [`Wakeup::changes`] was called since the last search.
    pub(super) fn look(&self) -> (ReentrantMutexGuard<'_, ()>, bool) {
        let looking = self.looking.lock();
        let changed = self.changed.swap(false, SeqCst);
        (looking, changed)
    }

    /// Sets the number of waiters, and the waker of the first.
    pub(super) fn set(&self, waiting: usize, first: Option<Waker>) {
        *self.first.lock() = first;
        self.waiting.store(waiting, Relaxed);
        fence(SeqCst);
    }
}
