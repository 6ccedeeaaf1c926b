//! OpenSSL functions for TLS to servers that the crate `openssl` does not wrap: resumption of sessions.

#![allow(unsafe_code, reason = "an unsafe function of the crate openssl, and one that it does not wrap")]

use foreign_types::{ForeignType as _, ForeignTypeRef as _};
use openssl::error::ErrorStack;
use openssl::ssl::{SslContextBuilder, SslRef, SslSession, SslSessionCacheMode, SslSessionRef};
use openssl_sys as ffi;
use std::fmt;

/// A session of a context that [`keep_sessions`] has prepared, for any number of connections.
///
/// OpenSSL resumes a session no more after a TLS 1.3 handshake with it, and after a connection with it that ended without
/// close_notify. Each connection has a copy of its own, so that this one remains.
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
        let session = copy(&self.0)?;
        // SAFETY: the session has its own reference count and does not refer to a context: its original context stores
        // no sessions, so it is in no context's list, whichever context `ssl` has.
        unsafe { ssl.set_session(&session) }
    }
}

/// A copy of a session (SSL_SESSION_dup(3)).
fn copy(session: &SslSessionRef) -> Result<SslSession, ErrorStack> {
    unsafe extern "C" {
        fn SSL_SESSION_dup(session: *const ffi::SSL_SESSION) -> *mut ffi::SSL_SESSION;
    }
    // SAFETY: the function only reads the session, which nobody changes once a connection has got it.
    let copy = unsafe { SSL_SESSION_dup(session.as_ptr()) };
    // SAFETY: a session that nobody else has, with one reference.
    if copy.is_null() { Err(ErrorStack::get()) } else { Ok(unsafe { SslSession::from_ptr(copy) }) }
}

/// Calls `keep` for every session that a server allows pen to resume. The context itself stores none.
pub fn keep_sessions(
    context: &mut SslContextBuilder,
    keep: impl Fn(&mut SslRef, ClientSession) + Send + Sync + 'static,
) {
    context.set_session_cache_mode(SslSessionCacheMode::CLIENT | SslSessionCacheMode::NO_INTERNAL);
    context.set_new_session_callback(move |ssl, session| {
        // Without memory the next handshake is a full one.
        if let Ok(session) = copy(&session) {
            keep(ssl, ClientSession(session));
        }
    });
}
