//! OpenSSL functions for TLS to servers that the crate `openssl` does not wrap: resumption of sessions.

#![allow(unsafe_code, reason = "an unsafe function of the crate openssl")]

use openssl::error::ErrorStack;
use openssl::ssl::{SslContextBuilder, SslRef, SslSession, SslSessionCacheMode};
use std::fmt;

/// A session of a context that [`keep_sessions`] has prepared.
#[derive(Clone)]
pub struct ClientSession(SslSession);

impl fmt::Debug for ClientSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSession(..)")
    }
}

impl ClientSession {
    /// Offers the session to the server in the coming handshake of `ssl` (SSL_set_session(3)).
    ///
    /// # Errors
    /// OpenSSL has no memory.
    pub fn offer(&self, ssl: &mut SslRef) -> Result<(), ErrorStack> {
        // SAFETY: the session has its own reference count and does not refer to a context: its original context stores
        // no sessions, so it is in no context's list, whichever context `ssl` has.
        unsafe { ssl.set_session(&self.0) }
    }
}

/// Calls `keep` for every session that a server allows pen to resume. The context itself stores none.
pub fn keep_sessions(
    context: &mut SslContextBuilder,
    keep: impl Fn(&mut SslRef, ClientSession) + Send + Sync + 'static,
) {
    context.set_session_cache_mode(SslSessionCacheMode::CLIENT | SslSessionCacheMode::NO_INTERNAL);
    context.set_new_session_callback(move |ssl, session| keep(ssl, ClientSession(session)));
}
