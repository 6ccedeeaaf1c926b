//! TLS towards a server that is checked.

use std::cell::OnceCell;
use std::pin::Pin;

use openssl::error::ErrorStack;
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use tokio_openssl::SslStream;

use crate::core::health::Check;
use crate::net::stream::Stream;

use super::outcome::Trouble;

/// The contexts, each made when it is used first: reading the authorities of the system takes a while.
#[derive(Default)]
pub(super) struct Clients {
    verifying: OnceCell<SslConnector>,
    trusting: OnceCell<SslConnector>,
}

impl std::fmt::Debug for Clients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clients")
    }
}

impl Clients {
    /// Makes the handshake that the check asks for.
    pub(super) async fn handshake(&self, stream: Stream, check: &Check) -> Result<Stream, Trouble> {
        let Stream::Plain(socket) = stream else { return Ok(stream) };
        let name = check.config.sni.as_deref().unwrap_or(&check.host);
        let verify = check.config.verify;
        let ssl = self
            .connector(verify)
            .and_then(|connector| connector.configure()?.verify_hostname(verify).into_ssl(name));
        let ssl = ssl.map_err(|error| Trouble::Here(format!("TLS: {error}")))?;
        let mut stream =
            SslStream::new(ssl, socket).map_err(|error| Trouble::Here(format!("TLS: {error}")))?;
        match Pin::new(&mut stream).connect().await {
            Ok(()) => Ok(Stream::Tls(Box::new(stream))),
            Err(error) => {
                let verified = stream.ssl().verify_result();
                let reason = if verify && verified != openssl::x509::X509VerifyResult::OK {
                    format!("TLS: its certificate is refused: {verified}")
                } else {
                    format!("TLS: {error}")
                };
                Err(Trouble::Server(reason))
            }
        }
    }

    fn connector(&self, verify: bool) -> Result<&SslConnector, ErrorStack> {
        let cell = if verify { &self.verifying } else { &self.trusting };
        if let Some(connector) = cell.get() {
            return Ok(connector);
        }
        let mut builder = SslConnector::builder(SslMethod::tls_client())?;
        builder.set_verify(if verify { SslVerifyMode::PEER } else { SslVerifyMode::NONE });
        Ok(cell.get_or_init(|| builder.build()))
    }
}
