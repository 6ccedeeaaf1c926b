//! The common settings of all contexts, towards clients and towards servers: relay modes, protocols and ciphers.

use openssl::error::ErrorStack;
use openssl::ssl::{SslContextBuilder, SslMode, SslOptions};

use crate::core::Error;

use super::settings::Oldest;

/// Ciphers of TLS 1.2 with forward secrecy and authenticated encryption, the fast ones first.
const CIPHERS: &str = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:\
ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
/// The same for TLS 1.3.
const SUITES: &str = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";

/// The ciphers of TLS 1.0 and 1.1, for administrators who allow them. OpenSSL 3 supports these versions only at level
/// 0.
const OLD_CIPHERS: &str = "ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA:ECDHE-RSA-AES256-SHA:\
AES128-SHA:AES256-SHA:@SECLEVEL=0";

/// SSL_OP_IGNORE_UNEXPECTED_EOF of `openssl/ssl.h`; in OpenSSL 1.1.1 this bit has no meaning.
const IGNORE_UNEXPECTED_EOF: u32 = 1 << 7;

/// Configures a context for the relay.
pub(in crate::net) fn for_relay(context: &mut SslContextBuilder) {
    context.set_mode(
        // An idle connection keeps no buffers; the relay offers bytes again from another address; a chain is completed
        // when it is loaded, not in each handshake.
        SslMode::RELEASE_BUFFERS
            | SslMode::ENABLE_PARTIAL_WRITE
            | SslMode::ACCEPT_MOVING_WRITE_BUFFER
            | SslMode::NO_AUTO_CHAIN,
    );
    // One read(2) fetches header and body of a record, and the data after it.
    context.set_read_ahead(true);
}

/// Sets protocols, ciphers and options, with `more` options besides those common to both sides.
///
/// # Errors
/// An error of OpenSSL, for example a list without any known cipher.
pub(in crate::net) fn limit(
    context: &mut SslContextBuilder,
    more: SslOptions,
    oldest: Oldest,
    ciphers: Option<&str>,
) -> Result<(), ErrorStack> {
    let options = SslOptions::NO_COMPRESSION
        | SslOptions::NO_RENEGOTIATION
        | SslOptions::NO_SESSION_RESUMPTION_ON_RENEGOTIATION;
    // FIN without close_notify ends one side and not the connection. OpenSSL 1.1.1 always behaves like this.
    context.set_options(options | more | SslOptions::from_bits_retain(IGNORE_UNEXPECTED_EOF.into()));
    // Overrides OpenSSL's own configuration file.
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
    // One list for all protocols; OpenSSL has a separate one for TLS 1.3.
    let words = list.split([':', ',', ' ']).filter(|w| !w.is_empty());
    let (suites, older): (Vec<&str>, Vec<&str>) = words.partition(|w| w.starts_with("TLS_"));
    context.set_ciphersuites(&if suites.is_empty() { SUITES.to_owned() } else { suites.join(":") })?;
    context.set_cipher_list(&if older.is_empty() { CIPHERS.to_owned() } else { older.join(":") })
}

/// The error of a list that OpenSSL has rejected because it knows none of its ciphers, if that is why.
pub(in crate::net) fn no_cipher(errors: &ErrorStack, list: Option<&str>) -> Option<Error> {
    /// SSL_R_NO_CIPHER_MATCH of `openssl/sslerr.h`.
    const NO_CIPHER: i32 = 185;
    let list = list.filter(|_| errors.errors().iter().any(|e| e.reason_code() == NO_CIPHER))?;
    Some(Error::new(format!("OpenSSL knows no cipher of '{list}'")))
}
