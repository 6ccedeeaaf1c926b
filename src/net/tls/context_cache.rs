//! The contexts of names that a worker has made, most recently used first.

use std::cell::RefCell;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use lru::LruCache;

use super::cert_loader::Made;

/// The maximum number of contexts of names that all workers keep together, and the minimum allowed to each.
const CONTEXTS: usize = 4096;
const CONTEXTS_EACH: usize = 64;

/// The contexts that belong together: those made from one load of the settings.
#[derive(Debug, Clone, Copy)]
pub(super) struct Set {
    /// A later set has a higher ID.
    id: u64,
    /// The maximum number of contexts that a worker keeps.
    most: usize,
}

impl Set {
    /// A set later than all others.
    pub(super) fn new(workers: usize) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let most = (CONTEXTS / workers.max(1)).max(CONTEXTS_EACH);
        Set { id: NEXT.fetch_add(1, Relaxed), most }
    }
}

/// The contexts of one worker, all of one set.
struct Cache {
    id: u64,
    names: LruCache<String, Made>,
}

impl Cache {
    /// The contexts of `set`; those of an earlier set are dropped, and there are none for a set that is no longer the
    /// latest.
    fn of(&mut self, set: Set) -> Option<&mut LruCache<String, Made>> {
        if self.id < set.id {
            self.id = set.id;
            self.names.clear();
            self.names.resize(NonZeroUsize::new(set.most).unwrap_or(NonZeroUsize::MIN));
        }
        (self.id == set.id).then_some(&mut self.names)
    }
}

thread_local! {
    static CACHE: RefCell<Cache> = RefCell::new(Cache {
        id: 0,
        names: LruCache::new(NonZeroUsize::MIN),
    });
}

/// The context that this worker has made from the files of a name.
pub(super) fn find(set: Set, name: &str) -> Option<Made> {
    CACHE.with_borrow_mut(|cache| cache.of(set)?.get(name).cloned())
}

/// Stores a context.
pub(super) fn keep(set: Set, name: &str, made: Made) {
    CACHE.with_borrow_mut(|cache| {
        if let Some(names) = cache.of(set) {
            names.put(name.to_owned(), made);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::tls::file_stamp::Stamp;

    #[test]
    fn a_worker_s_contexts_are_bounded_and_of_the_latest_settings() {
        let mut cache = Cache { id: 0, names: LruCache::new(NonZeroUsize::MIN) };
        let set = |id| Set { id, most: 64 };
        let entry = || Made { context: None, stamp: Stamp::of([]) };
        let names = cache.of(set(7)).unwrap();
        (0..100).for_each(|n| _ = names.put(n.to_string(), entry()));
        assert_eq!(names.len(), 64);
        assert!(names.contains("99") && !names.contains("0"), "unused for longest goes first");
        assert!(cache.of(set(6)).is_none());
        assert_eq!(cache.of(set(7)).map(|names| names.len()), Some(64));
        assert_eq!(cache.of(set(8)).map(|names| names.len()), Some(0));
    }
}
