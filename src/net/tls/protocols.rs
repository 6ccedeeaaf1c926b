//! What every context has, towards clients and towards servers: how the relay uses it, protocols and ciphers.

use openssl::error::ErrorStack;
use openssl::ssl::{SslContextBuilder, SslMode, SslOptions};

use super::settings::Oldest;

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

/// Sets a context up for the relay.
pub(in crate::net) fn for_relay(context: &mut SslContextBuilder) {
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
}

/// Sets protocols, ciphers and options, `more` of them beside those that both sides have.
///
/// # Errors
/// What OpenSSL does not accept, such as a list without any cipher that it knows.
pub(in crate::net) fn limit(
    context: &mut SslContextBuilder,
    more: SslOptions,
    oldest: Oldest,
    ciphers: Option<&str>,
) -> Result<(), ErrorStack> {
    let options = SslOptions::NO_COMPRESSION
        | SslOptions::NO_RENEGOTIATION
        | SslOptions::NO_SESSION_RESUMPTION_ON_RENEGOTIATION;
    // FIN without close_notify ends one side and not the connection. OpenSSL 1.1.1 does so anyway.
    context.set_options(options | more | SslOptions::from_bits_retain(IGNORE_UNEXPECTED_EOF.into()));
    // OpenSSL's own file of settings may have other opinions.
    context.clear_options(SslOptions::NO_SSL_MASK | SslOptions::ALLOW_UNSAFE_LEGACY_RENEGOTIATION);
    context.set_min_proto_version(Some(oldest.version()))?;
    context.set_max_proto_version(None)?;
    let Some(list) = ciphers else {
        let old = oldest < Oldest::Tls12;
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

/// Whether OpenSSL has refused a list for lack of a cipher that it knows.
pub(in crate::net) fn knows_no_cipher(errors: &ErrorStack) -> bool {
    /// SSL_R_NO_CIPHER_MATCH of `openssl/sslerr.h`.
    const NO_CIPHER: i32 = 185;
    errors.errors().iter().any(|e| e.reason_code() == NO_CIPHER)
}
