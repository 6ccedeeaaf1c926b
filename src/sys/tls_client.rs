//! What the crate `openssl` does not wrap of TLS towards servers: sessions that are offered again.

#![allow(unsafe_code, reason = "a call into libssl that the crate openssl leaves to its user to judge")]

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
    /// Offers it to the server in the handshake of `ssl`, which is to come (SSL_set_session(3)).
    ///
    /// # Errors
    /// When OpenSSL has no memory.
    pub fn offer(&self, ssl: &mut SslRef) -> Result<(), ErrorStack> {
        // SAFETY: the session counts its own references and points to no context: the one that it was made under stores
        // none, so that it is in no context's list, whichever context `ssl` has.
        unsafe { ssl.set_session(&self.0) }
    }
}

/// Has `keep` told of every session that a server lets pen resume. The context itself stores none.
pub fn keep_sessions(
    context: &mut SslContextBuilder,
    keep: impl Fn(&mut SslRef, ClientSession) + Send + Sync + 'static,
) {
    context.set_session_cache_mode(SslSessionCacheMode::CLIENT | SslSessionCacheMode::NO_INTERNAL);
    context.set_new_session_callback(move |ssl, session| keep(ssl, ClientSession(session)));
}
