//! The TLS parameters agreed on with a client.

use serde::Serialize;

/// A TLS session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TlsSession {
    /// The version of TLS, as OpenSSL writes it: `TLSv1.3`.
    pub version: String,
    /// The cipher, as OpenSSL writes it.
    pub cipher: String,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
    /// The server name that the client requested (RFC 6066), if it is printable.
    pub server_name: Option<String>,
    /// The protocol that was negotiated (ALPN, RFC 7301), if one was, and if its name is printable.
    pub alpn: Option<String>,
}

impl TlsSession {
    /// The lines of the reply to `connection N`.
    pub fn notes(&self) -> Vec<String> {
        let resumed = if self.resumed { ", resumed" } else { "" };
        vec![
            format!("tls = {}, cipher = {}{resumed}", self.version, self.cipher),
            format!("sni = {}", self.server_name.as_deref().unwrap_or("-")),
            format!("alpn = {}", self.alpn.as_deref().unwrap_or("-")),
        ]
    }
}
