//! The handshake with one server.

use std::io;
use std::pin::Pin;
use std::sync::Arc;

use openssl::ssl::{Error, ErrorCode, SslRef};
use openssl::x509::X509VerifyResult;
use socket2::SockRef;
use tokio_openssl::SslStream;

use crate::core::addr::Host;
use crate::core::error::SystemReason;
use crate::core::tls_peer::TlsPeer;
use crate::net::socket::Socket;
use crate::net::stream::Stream;
use crate::net::tls::identity::reason;
use crate::net::tls::session_of;
use crate::net::tls::worker;
use crate::sys::error::is_shortage;
use crate::sys::log;
use crate::sys::tls::forget_exchanged_keys;

use super::contexts::UpstreamTls;

/// Why TLS with a server failed.
#[derive(Debug)]
pub enum TlsFailure {
    /// Through the server's fault.
    Server(String),
    /// Through pen's fault.
    Here(String),
    /// The system lacks memory: neither has failed.
    Shortage(io::Error),
}

impl UpstreamTls {
    /// Makes the handshake with a server that is connected, and offers it the protocol `alpn`; takes as long as the server
    /// does.
    ///
    /// # Errors
    /// The handshake has failed, or the certificate is rejected: a failure of the server.
    pub(in crate::net) async fn connect(
        &self,
        peer: &Arc<TlsPeer>,
        alpn: Option<&[u8]>,
        stream: Stream,
    ) -> Result<Stream, TlsFailure> {
        let Stream::Plain(socket) = stream else { return Ok(stream) };
        let ssl = {
            let current = self.current.load();
            let own = current.as_ref().and_then(|loaded| worker::own(&loaded.contexts));
            own.map(|context| context.new_ssl(peer, alpn))
        };
        let here = |why: String| TlsFailure::Here(format!("TLS: {why}"));
        let ssl = match ssl {
            Some(ssl) => ssl.map_err(|errors| here(reason(&errors)))?,
            None => return Err(here("nothing is loaded for it".into())),
        };
        if peer.verify && peer.name.is_none() {
            let why = "TLS: its certificate cannot be verified: its name is not known (tls_name)";
            return Err(TlsFailure::Server(why.into()));
        }
        if socket.is_tcp() {
            // The last message of the handshake and the first request are two short writes, as with clients. Fails only
            // on a broken socket, which is detected when it is read.
            _ = SockRef::from(&socket).set_tcp_nodelay(true);
        }
        let mut stream = SslStream::new(ssl, socket).map_err(|errors| here(reason(&errors)))?;
        match Pin::new(&mut stream).connect().await {
            Ok(()) => {
                forget_exchanged_keys(stream.ssl());
                if log::debug_level() > 1 {
                    let notes = session_of(stream.ssl()).notes().join(", ");
                    log::debug(2, format_args!("TLS to {peer}: {notes}"));
                }
                Ok(stream.into())
            }
            Err(error) => Err(match error.io_error().filter(|error| is_shortage(error)) {
                Some(short) => {
                    TlsFailure::Shortage(io::Error::new(short.kind(), told(peer, &stream, &error)))
                }
                None => TlsFailure::Server(told(peer, &stream, &error)),
            }),
        }
    }
}

/// The reason why the handshake failed.
fn told(peer: &TlsPeer, stream: &SslStream<Socket>, error: &Error) -> String {
    if let Some(why) = refusal(peer, stream.ssl()) {
        return why;
    }
    match (error.code(), error.io_error(), error.ssl_error()) {
        (_, Some(error), _) => format!("TLS handshake: {}", SystemReason(error)),
        (_, _, Some(errors)) => format!("TLS handshake: {}", reason(errors)),
        (ErrorCode::ZERO_RETURN | ErrorCode::SYSCALL, ..) => {
            "TLS handshake: the server closed the connection".into()
        }
        _ => format!("TLS handshake: {error}"),
    }
}

/// Why the certificate is rejected, if it is.
fn refusal(peer: &TlsPeer, ssl: &SslRef) -> Option<String> {
    /// X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH of `openssl/x509_vfy.h`.
    const MISMATCHES: [i32; 2] = [62, 64];
    let verified = ssl.verify_result();
    if !peer.verify || verified == X509VerifyResult::OK {
        return None;
    }
    let name = peer.name.as_ref().filter(|_| MISMATCHES.contains(&verified.as_raw()));
    let name = name.map(|name: &Host| format!(", expected {name}")).unwrap_or_default();
    Some(format!("TLS: its certificate is refused: {}{name}", verified.error_string()))
}
