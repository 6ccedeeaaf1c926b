//! Sessions of TLS 1.2 clients that do not use tickets, for all workers.
//!
//! OpenSSL stores such sessions per context, and so per worker; a client may reconnect to any worker. Here they are in
//! one table of bounded size, in DER form.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lru::LruCache;
use zeroize::Zeroizing;

/// The maximum number of sessions; the one unused for longest is replaced.
const SESSIONS: usize = 8192;
/// A larger session, with a very long client certificate, is not stored: so the table is at most 32 MiB.
const LARGEST: usize = 4096;

/// The cache.
pub(super) struct SessionCache(Mutex<LruCache<Vec<u8>, Zeroizing<Vec<u8>>>>);

impl fmt::Debug for SessionCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionCache({})", self.table().len())
    }
}

impl Default for SessionCache {
    fn default() -> Self {
        Self::of(SESSIONS)
    }
}

impl SessionCache {
    fn of(most: usize) -> Self {
        SessionCache(Mutex::new(LruCache::new(NonZeroUsize::new(most).unwrap_or(NonZeroUsize::MIN))))
    }

    fn table(&self) -> MutexGuard<'_, LruCache<Vec<u8>, Zeroizing<Vec<u8>>>> {
        // A panic elsewhere leaves the table consistent.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores a session.
    pub(super) fn keep(&self, id: &[u8], der: Vec<u8>) {
        if !id.is_empty() && der.len() <= LARGEST {
            self.table().put(id.to_vec(), Zeroizing::new(der));
        }
    }

    /// The session with that ID.
    pub(super) fn find(&self, id: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        self.table().get(id).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_bounded() {
        let sessions = SessionCache::of(2);
        sessions.keep(b"1", vec![1]);
        sessions.keep(b"2", vec![2]);
        assert_eq!(sessions.find(b"1"), Some(Zeroizing::new(vec![1])));
        sessions.keep(b"3", vec![3]);
        assert_eq!(sessions.find(b"2"), None, "unused for longest");
        assert_eq!(sessions.find(b"1"), Some(Zeroizing::new(vec![1])));
        sessions.keep(b"4", vec![0; LARGEST + 1]);
        sessions.keep(b"", vec![0]);
        assert_eq!((sessions.find(b"4"), sessions.find(b"")), (None, None));
    }
}
