//! The sessions that a worker can resume: the latest one for each server.
//!
//! In TLS 1.3 a session may be offered more than once: RFC 8446 C.4 advises against it because an observer can
//! recognize a returning client, but that a balancer returns is no secret. So every connection of a burst has a session
//! to offer.

use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;
use parking_lot::Mutex;

use crate::core::tls_peer::TlsPeer;
use crate::sys::tls_client::ClientSession;

/// The maximum number of servers for which a worker stores a session; the one unused for longest is replaced.
const SERVERS: usize = 256;

/// The cache.
#[derive(Debug)]
pub(super) struct UpstreamSessionCache(Mutex<LruCache<Arc<TlsPeer>, ClientSession>>);

impl Default for UpstreamSessionCache {
    fn default() -> Self {
        Self::of(SERVERS)
    }
}

impl UpstreamSessionCache {
    fn of(servers: usize) -> Self {
        UpstreamSessionCache(Mutex::new(LruCache::new(
            NonZeroUsize::new(servers).unwrap_or(NonZeroUsize::MIN),
        )))
    }

    /// Stores the session that the server has issued.
    pub(super) fn keep(&self, peer: &Arc<TlsPeer>, session: ClientSession) {
        self.0.lock().put(Arc::clone(peer), session);
    }

    /// The session to offer to the server.
    pub(super) fn find(&self, peer: &Arc<TlsPeer>) -> Option<ClientSession> {
        self.0.lock().get(peer).cloned()
    }
}
