//! An OpenSSL context for one worker and the certificates of one name.

use std::sync::Arc;

use foreign_types::{ForeignType as _, ForeignTypeRef};
use openssl::error::ErrorStack;
use openssl::sha::Sha256;
use openssl::ssl::{
    AlpnError, SslContext, SslContextBuilder, SslContextRef, SslMethod, SslOptions, SslSessionCacheMode,
    SslVerifyMode, SslVersion,
};
use openssl::stack::Stack;
use openssl::x509::X509;

use crate::core::alpn;
use crate::sys::tls as sys;

use super::credentials::Credential;
use super::identity::Authorities;
use super::ocsp::Stapling;
use super::protocols;
use super::sessions::SessionCache;
use super::settings::{Alpn, Oldest, TlsSettings};
use super::tickets::TicketKeyRing;

/// How clients resume sessions, on any worker.
#[derive(Debug, Default, Clone)]
pub(super) struct Resumption {
    pub(super) keys: Arc<TicketKeyRing>,
    pub(super) sessions: Arc<SessionCache>,
}

/// The parts of a context.
pub(super) struct ContextParts<'a> {
    pub(super) settings: &'a TlsSettings,
    /// At least one.
    pub(super) credentials: &'a [Credential],
    pub(super) authorities: &'a Authorities,
    pub(super) resumption: &'a Resumption,
    /// The name that the certificates are for; empty for the default ones.
    pub(super) name: &'a str,
}

/// The client certificate that is requested or required.
pub(super) fn verify_mode(settings: &TlsSettings) -> SslVerifyMode {
    if settings.require {
        SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT
    } else {
        SslVerifyMode::NONE
    }
}

/// Makes a context that may still be extended.
///
/// # Errors
/// An error of OpenSSL, for example a key that it considers too short.
pub(super) fn build(parts: &ContextParts<'_>) -> Result<SslContextBuilder, ErrorStack> {
    let ContextParts { settings, credentials, .. } = parts;
    let mut context = SslContext::builder(SslMethod::tls_server())?;
    protocols::for_relay(&mut context);
    let mut options = SslOptions::CIPHER_SERVER_PREFERENCE | SslOptions::PRIORITIZE_CHACHA;
    if settings.compat {
        options |= SslOptions::ALL;
    }
    protocols::limit(&mut context, options, settings.oldest, settings.ciphers.as_deref())?;
    for Credential { identity, .. } in *credentials {
        identity.use_in(&mut context, credentials.len() > 1)?;
    }
    negotiate(&mut context, &settings.alpn);
    clients(&mut context, parts)?;
    resume(&mut context, parts.resumption)?;
    let staplings: Vec<(X509, Arc<Stapling>)> = credentials
        .iter()
        .filter_map(|one| Some((one.identity.leaf.clone(), Arc::clone(one.stapling.as_ref()?))))
        .collect();
    if !staplings.is_empty() {
        context.set_status_callback(move |ssl| {
            // The response belongs to the certificate that the client gets.
            let chosen = ssl.certificate().map(ForeignTypeRef::as_ptr);
            match staplings.iter().find(|(leaf, _)| chosen == Some(leaf.as_ptr())) {
                Some((_, stapling)) => stapling.with_valid(|der| ssl.set_ocsp_status(der)),
                None => Ok(false),
            }
        })?;
    }
    // Without it OpenSSL forgets the name that the client sent.
    context.set_servername_callback(|_, _| Ok(()));
    Ok(context)
}

/// Lets clients choose among the protocols of `alpn` (RFC 7301 3.2).
fn negotiate(context: &mut SslContextBuilder, alpn: &Alpn) {
    let (own, otherwise) = match alpn {
        Alpn::Nothing => return,
        Alpn::Http => (vec![alpn::HTTP.to_owned()], AlpnError::NOACK),
        Alpn::Listed(own) => (own.clone(), AlpnError::ALERT_FATAL),
    };
    context.set_alpn_select_callback(move |_, offered| alpn::choose(&own, offered).ok_or(otherwise));
}

/// Why old protocols do not work although the settings allow them.
pub(super) fn notice_of_old_protocols(context: &SslContextRef, settings: &TlsSettings) -> Option<String> {
    const OPENSSL_3: i64 = 0x3000_0000;
    let is_modern = settings.oldest >= Oldest::Tls12 || openssl::version::number() < OPENSSL_3;
    if is_modern || context.security_level() == 0 {
        return None;
    }
    Some(
        "ssl_option allow_tlsv1: has no effect: OpenSSL 3 speaks TLS 1.0 and 1.1 only when ssl_ciphers has \
         @SECLEVEL=0"
            .into(),
    )
}

fn clients(context: &mut SslContextBuilder, parts: &ContextParts<'_>) -> Result<(), ErrorStack> {
    let ContextParts { settings, authorities, name, .. } = parts;
    context.set_verify(verify_mode(settings));
    let mut id = Sha256::new();
    id.update(name.as_bytes());
    if settings.require {
        context.set_cert_store(authorities.store()?);
        let mut names = Stack::new()?;
        for name in authorities.names()? {
            names.push(name)?;
        }
        context.set_client_ca_list(names);
        id.update(&[0]);
        id.update(&authorities.fingerprint);
    }
    // A session is resumed only under the name for which it was made, and only with the same authorities.
    context.set_session_id_context(&id.finish())
}

fn resume(context: &mut SslContextBuilder, resumption: &Resumption) -> Result<(), ErrorStack> {
    // One ticket per TLS 1.3 handshake rather than two: half the work, and a client that uses one gets the next.
    context.set_num_tickets(1)?;
    sys::set_ticket_keys(context, Arc::clone(&resumption.keys) as _)?;
    context.set_session_cache_mode(SslSessionCacheMode::SERVER | SslSessionCacheMode::NO_INTERNAL);
    let sessions = Arc::clone(&resumption.sessions);
    context.set_new_session_callback(move |_, session| {
        // In TLS 1.3 there are only tickets.
        if session.protocol_version() != SslVersion::TLS1_3
            && let Ok(der) = session.to_der()
        {
            sessions.keep(session.id(), der);
        }
    });
    let sessions = Arc::clone(&resumption.sessions);
    sys::set_session_store(context, move |id| sessions.find(id));
    Ok(())
}
