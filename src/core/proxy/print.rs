//! Writes a header.

use std::net::SocketAddr;

use super::header::Addresses;
use super::tlv::{self, TlsFacts};
use super::v1;
use super::v2::{self, protocol};

/// The kind of data after a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// A stream.
    Stream,
    /// One datagram.
    Datagram,
}

/// A header of version 1. Without addresses, as for a client of a Unix socket, it declares them unknown.
pub fn v1(addresses: Option<Addresses>) -> Vec<u8> {
    v1::print(addresses)
}

/// What else a header of version 2 says.
#[derive(Debug, Clone, Copy)]
pub enum Values<'a> {
    /// Nothing.
    None,
    /// What pen knows of a client whose TLS it has ended.
    Tls(&'a TlsFacts),
    /// What the proxy in front of pen has said, see [`Header::values`](super::Header::values).
    PassedOn(&'a [u8]),
}

/// The header of version 2 of a connection that is pen's own.
pub fn v2_local() -> Vec<u8> {
    [v2::SIGNATURE, &[v2::LOCAL, protocol::UNSPEC, 0, 0]].concat()
}

/// A header of version 2.
pub fn v2(addresses: Option<Addresses>, transport: Transport, values: Values<'_>) -> Vec<u8> {
    let mut header = v2::SIGNATURE.to_vec();
    let transport = match transport {
        Transport::Stream => protocol::STREAM,
        Transport::Datagram => protocol::DGRAM,
    };
    let protocol = match addresses {
        None => protocol::UNSPEC,
        Some(Addresses { source: SocketAddr::V4(_), .. }) => protocol::INET | transport,
        Some(Addresses { source: SocketAddr::V6(_), .. }) => protocol::INET6 | transport,
    };
    header.extend([v2::PROXY, protocol, 0, 0]);
    if let Some(Addresses { source, destination }) = addresses {
        for address in [source, destination] {
            match address {
                SocketAddr::V4(address) => header.extend(address.ip().octets()),
                SocketAddr::V6(address) => header.extend(address.ip().octets()),
            }
        }
        for address in [source, destination] {
            header.extend(address.port().to_be_bytes());
        }
    }
    match values {
        Values::None => {}
        Values::Tls(tls) => tls_facts(&mut header, tls),
        // Read from a header of the same length at most, but for the addresses that this one may have instead of none.
        Values::PassedOn(values) if header.len() - v2::PREAMBLE + values.len() <= usize::from(u16::MAX) => {
            header.extend(values);
        }
        Values::PassedOn(_) => {}
    }
    let length = u16::try_from(header.len() - v2::PREAMBLE).unwrap_or_default().to_be_bytes();
    header[v2::PREAMBLE - 2..v2::PREAMBLE].copy_from_slice(&length);
    header
}

/// The maximum length of a value that is written: a server name, a protocol, a common name. Longer ones cannot be
/// valid.
const LONGEST: usize = 1024;

fn value(header: &mut Vec<u8>, kind: u8, value: &[u8]) {
    if let Ok(length) = u16::try_from(value.len())
        && value.len() <= LONGEST
    {
        header.push(kind);
        header.extend(length.to_be_bytes());
        header.extend(value);
    }
}

fn tls_facts(header: &mut Vec<u8>, tls: &TlsFacts) {
    if let Some(alpn) = &tls.alpn {
        value(header, tlv::ALPN, alpn);
    }
    if let Some(name) = &tls.server_name {
        value(header, tlv::AUTHORITY, name.as_bytes());
    }
    let certificate = tls.certificate.as_ref();
    let mut flags = tlv::CLIENT_SSL;
    if let Some(certificate) = certificate {
        flags |= tlv::CLIENT_CERT_SESS;
        if !certificate.resumed {
            flags |= tlv::CLIENT_CERT_CONN;
        }
    }
    // Zero means that there was a certificate, and that it was valid.
    let verify = u32::from(!certificate.is_some_and(|certificate| certificate.verified));
    let mut ssl = vec![flags];
    ssl.extend(verify.to_be_bytes());
    value(&mut ssl, tlv::SSL_VERSION, tls.version.as_bytes());
    if let Some(name) = certificate.and_then(|certificate| certificate.common_name.as_ref()) {
        value(&mut ssl, tlv::SSL_CN, name.as_bytes());
    }
    value(&mut ssl, tlv::SSL_CIPHER, tls.cipher.as_bytes());
    header.push(tlv::SSL);
    header.extend(u16::try_from(ssl.len()).unwrap_or_default().to_be_bytes());
    header.extend(ssl);
}
