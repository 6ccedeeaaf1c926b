//! The sessions that a worker can resume: the latest of each server.
//!
//! In TLS 1.3 a session may be offered more than once: what RFC 8446 C.4 has against that is that an observer sees who comes back,
//! and that a balancer comes back is no secret. So there is one for every connection of a burst.

use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;
use parking_lot::Mutex;

use crate::core::upstream_tls::TlsPeer;
use crate::sys::tls_client::ClientSession;

/// Servers of which a worker keeps a session; the one unused for longest makes room.
const SERVERS: usize = 256;

/// The sessions.
#[derive(Debug)]
pub(super) struct Sessions(Mutex<LruCache<Arc<TlsPeer>, ClientSession>>);

impl Default for Sessions {
    fn default() -> Self {
        Self::of(SERVERS)
    }
}

impl Sessions {
    fn of(servers: usize) -> Self {
        Sessions(Mutex::new(LruCache::new(NonZeroUsize::new(servers).unwrap_or(NonZeroUsize::MIN))))
    }

    /// Keeps the session that the server has given.
    pub(super) fn keep(&self, peer: &Arc<TlsPeer>, session: ClientSession) {
        self.0.lock().put(Arc::clone(peer), session);
    }

    /// The session to offer to the server.
    pub(super) fn find(&self, peer: &Arc<TlsPeer>) -> Option<ClientSession> {
        self.0.lock().get(peer).cloned()
    }
}
