//! The additional fields of a header of version 2: type, length and value.

use super::checksum;
use super::header::{Malformed, malformed};

/// The protocol that the client speaks (RFC 7301).
pub(super) const ALPN: u8 = 0x01;
/// The server name that the client requested.
pub(super) const AUTHORITY: u8 = 0x02;
/// A checksum of the header.
const CRC32C: u8 = 0x03;
/// Nothing.
const NOOP: u8 = 0x04;
/// The parameters of the client's TLS.
pub(super) const SSL: u8 = 0x20;
/// Within [`SSL`]: the version of TLS.
pub(super) const SSL_VERSION: u8 = 0x21;
/// Within [`SSL`]: the common name of the client's certificate.
pub(super) const SSL_CN: u8 = 0x22;
/// Within [`SSL`]: the cipher.
pub(super) const SSL_CIPHER: u8 = 0x23;

/// The client uses TLS.
pub(super) const CLIENT_SSL: u8 = 0x01;
/// It has presented a certificate on this connection.
pub(super) const CLIENT_CERT_CONN: u8 = 0x02;
/// It has presented one in this TLS session.
pub(super) const CLIENT_CERT_SESS: u8 = 0x04;

/// The TLS parameters of a client whose TLS pen terminates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFacts {
    /// The version, as OpenSSL writes it.
    pub version: String,
    /// The cipher, as OpenSSL writes it.
    pub cipher: String,
    /// The server name that the client requested.
    pub server_name: Option<String>,
    /// The protocol that was agreed on (RFC 7301).
    pub alpn: Option<Vec<u8>>,
    /// The client's certificate, if it has presented one.
    pub certificate: Option<ClientCertificate>,
}

/// A certificate presented by a client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The common name of its subject, if it has one.
    pub common_name: Option<String>,
    /// Whether it was found valid.
    pub verified: bool,
    /// Whether it was presented in an earlier connection of the session, and not in this one.
    pub resumed: bool,
}

/// Reads those of the header `whole` from `at` on: whether the client speaks TLS to the proxy, and what is for servers too.
/// Types that are not known are passed over.
pub(super) fn read(whole: &[u8], mut at: usize) -> Result<(bool, Vec<u8>), Malformed> {
    let (mut tls, mut values) = (false, Vec::new());
    while at < whole.len() {
        let begin = at;
        let Some(&[kind, high, low]) = whole.get(at..at + 3) else { return malformed("whole TLVs") };
        at += 3;
        let end = at + usize::from(u16::from_be_bytes([high, low]));
        let Some(value) = whole.get(at..end) else { return malformed("whole TLVs") };
        match (kind, value) {
            (CRC32C, &[a, b, c, d]) if u32::from_be_bytes([a, b, c, d]) == checksum::of(whole, at) => {}
            (CRC32C, _) => return malformed("the checksum of the header"),
            (SSL, [flags, _, _, _, _, ..]) => tls = flags & CLIENT_SSL != 0,
            (SSL, _) => return malformed("five bytes or more of PP2_TYPE_SSL"),
            _ => {}
        }
        if kind != CRC32C && kind != NOOP {
            values.extend_from_slice(&whole[begin..end]);
        }
        at = end;
    }
    Ok((tls, values))
}
