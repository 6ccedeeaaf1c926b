//! An OpenSSL context for one worker and one identity.

use std::sync::Arc;

use openssl::error::ErrorStack;
use openssl::sha::Sha256;
use openssl::ssl::{
    SslContext, SslContextBuilder, SslContextRef, SslMethod, SslMode, SslOptions, SslSessionCacheMode,
    SslVerifyMode, SslVersion,
};
use openssl::stack::Stack;

use crate::sys::tls as sys;

use super::identity::{Authorities, Identity};
use super::ocsp::Stapling;
use super::sessions::Sessions;
use super::settings::{Oldest, TlsSettings};
use super::tickets::Keys;

/// Ciphers of TLS 1.2 with forward secrecy and authenticated encryption, the fast ones first.
const CIPHERS: &str = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:\
ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
/// The same for TLS 1.3.
const SUITES: &str = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";

/// The ciphers that TLS 1.0 and 1.1 have, for those who allow them. OpenSSL 3 speaks these versions only at level 0.
const OLD_CIPHERS: &str = "ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA:ECDHE-RSA-AES256-SHA:\
AES128-SHA:AES256-SHA:@SECLEVEL=0";

/// SSL_OP_IGNORE_UNEXPECTED_EOF of `openssl/ssl.h`; OpenSSL 1.1.1 has no option of that bit.
const IGNORE_UNEXPECTED_EOF: u32 = 1 << 7;

/// How clients come back without a full handshake, whichever worker they meet.
#[derive(Debug, Default, Clone)]
pub(super) struct Resumption {
    pub(super) keys: Arc<Keys>,
    pub(super) sessions: Arc<Sessions>,
}

/// What a context is made of.
pub(super) struct Parts<'a> {
    pub(super) settings: &'a TlsSettings,
    pub(super) identity: &'a Identity,
    pub(super) authorities: &'a Authorities,
    pub(super) stapling: Option<&'a Arc<Stapling>>,
    pub(super) resumption: &'a Resumption,
    /// The name that the identity is for; empty for the default one.
    pub(super) name: &'a str,
}

/// What is asked of clients.
pub(super) fn verify_mode(settings: &TlsSettings) -> SslVerifyMode {
    if settings.require {
        SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT
    } else {
        SslVerifyMode::NONE
    }
}

/// Makes a context that may still be added to.
///
/// # Errors
/// What OpenSSL does not accept, such as a key that it holds for too short.
pub(super) fn build(parts: &Parts<'_>) -> Result<SslContextBuilder, ErrorStack> {
    let Parts { settings, identity, .. } = parts;
    let mut context = SslContext::builder(SslMethod::tls_server())?;
    context.set_mode(
        // An idle connection keeps no buffers; the relay offers bytes again from another address; a chain is
        // completed when it is loaded, not in each handshake.
        SslMode::RELEASE_BUFFERS
            | SslMode::ENABLE_PARTIAL_WRITE
            | SslMode::ACCEPT_MOVING_WRITE_BUFFER
            | SslMode::NO_AUTO_CHAIN,
    );
    // One read(2) fetches header and body of a record, and what follows.
    context.set_read_ahead(true);
    protocols(&mut context, settings)?;
    context.set_certificate(&identity.leaf)?;
    context.set_private_key(&identity.key)?;
    for certificate in &identity.chain {
        context.add_extra_chain_cert(certificate.clone())?;
    }
    clients(&mut context, parts)?;
    resume(&mut context, parts.resumption)?;
    if let Some(stapling) = parts.stapling {
        let stapling = Arc::clone(stapling);
        context.set_status_callback(move |ssl| stapling.with_valid(|der| ssl.set_ocsp_status(der)))?;
    }
    // Without it OpenSSL forgets the name that the client sent.
    context.set_servername_callback(|_, _| Ok(()));
    Ok(context)
}

fn protocols(context: &mut SslContextBuilder, settings: &TlsSettings) -> Result<(), ErrorStack> {
    let mut options = SslOptions::NO_COMPRESSION
        | SslOptions::NO_RENEGOTIATION
        | SslOptions::NO_SESSION_RESUMPTION_ON_RENEGOTIATION
        | SslOptions::CIPHER_SERVER_PREFERENCE
        | SslOptions::PRIORITIZE_CHACHA;
    if settings.compat {
        options |= SslOptions::ALL;
    }
    // FIN without close_notify ends the client's side and not the connection. OpenSSL 1.1.1 does so anyway.
    options |= SslOptions::from_bits_retain(IGNORE_UNEXPECTED_EOF.into());
    context.set_options(options);
    // OpenSSL's own file of settings may have other opinions.
    context.clear_options(SslOptions::NO_SSL_MASK | SslOptions::ALLOW_UNSAFE_LEGACY_RENEGOTIATION);
    context.set_min_proto_version(Some(settings.oldest.version()))?;
    context.set_max_proto_version(None)?;
    let Some(list) = &settings.ciphers else {
        let old = settings.oldest < Oldest::Tls12;
        context.set_cipher_list(&if old {
            format!("{CIPHERS}:{OLD_CIPHERS}")
        } else {
            CIPHERS.to_owned()
        })?;
        return context.set_ciphersuites(SUITES);
    };
    // One list for all protocols; OpenSSL keeps those of TLS 1.3 apart.
    let words = list.split([':', ',', ' ']).filter(|w| !w.is_empty());
    let (suites, older): (Vec<&str>, Vec<&str>) = words.partition(|w| w.starts_with("TLS_"));
    context.set_ciphersuites(&if suites.is_empty() { SUITES.to_owned() } else { suites.join(":") })?;
    context.set_cipher_list(&if older.is_empty() { CIPHERS.to_owned() } else { older.join(":") })
}

/// Why old protocols that the settings allow are not spoken all the same.
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

fn clients(context: &mut SslContextBuilder, parts: &Parts<'_>) -> Result<(), ErrorStack> {
    let Parts { settings, authorities, name, .. } = parts;
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
    // A session is resumed only under the name that it was made under, and only while the same authorities count.
    context.set_session_id_context(&id.finish())
}

fn resume(context: &mut SslContextBuilder, resumption: &Resumption) -> Result<(), ErrorStack> {
    // One ticket a handshake of TLS 1.3 rather than two: half the work, and a client that uses one gets the next.
    context.set_num_tickets(1)?;
    sys::set_ticket_keys(context, Arc::clone(&resumption.keys) as _)?;
    context.set_session_cache_mode(SslSessionCacheMode::SERVER | SslSessionCacheMode::NO_INTERNAL);
    let sessions = Arc::clone(&resumption.sessions);
    context.set_new_session_callback(move |_, session| {
        // In TLS 1.3 the ticket is all there is.
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
