//! What a server may be told of a client's TLS.

use openssl::nid::Nid;
use openssl::ssl::SslRef;
use openssl::x509::{X509Ref, X509VerifyResult};

use crate::core::proxy::{ClientCertificate, TlsFacts};
use crate::core::tls_session::TlsSession;

use super::handshake::session;

/// What is known once the handshake is made.
pub(in crate::net) fn facts(ssl: &SslRef) -> TlsFacts {
    let TlsSession { version, cipher, server_name, resumed, .. } = session(ssl);
    TlsFacts {
        version,
        cipher,
        server_name,
        alpn: ssl.selected_alpn_protocol().map(<[u8]>::to_vec),
        certificate: ssl.peer_certificate().map(|certificate| ClientCertificate {
            common_name: common_name(&certificate),
            verified: ssl.verify_result() == X509VerifyResult::OK,
            resumed,
        }),
    }
}

fn common_name(certificate: &X509Ref) -> Option<String> {
    let entry = certificate.subject_name().entries_by_nid(Nid::COMMONNAME).last()?;
    entry.data().to_string().ok()
}
