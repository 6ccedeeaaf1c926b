//! The server name in the ClientHello of a client whose TLS pen does not end.
//!
//! OpenSSL parses the message, as it does where pen ends TLS, whatever records it is split into.

use std::io::{self, Read, Write};
use std::sync::OnceLock;

use openssl::error::ErrorStack;
use openssl::ex_data::Index;
use openssl::ssl::{ClientHelloResponse, HandshakeError, Ssl, SslContext, SslMethod};

use crate::core::Millis;
use crate::core::hello_framing::{HELLO_MAX, HelloFraming, HelloProgress};
use crate::sys::tls::server_name_extension;

use super::first_bytes::read_until;
use super::socket::Socket;
use super::tls::host_name;

/// What a ClientHello says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hello {
    /// It is not complete.
    Partial,
    /// It asks for a server by this name.
    Named(String),
    /// It names no server, or it is no ClientHello.
    Unnamed,
}

/// Bytes that have come; what OpenSSL would answer is discarded.
struct HelloBytes<'a>(&'a [u8]);

impl Read for HelloBytes<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.0.read(into)
    }
}

impl Write for HelloBytes<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A context whose handshakes stop at the ClientHello, and where they leave the name.
struct Parser {
    context: SslContext,
    name: Index<Ssl, Hello>,
}

impl Parser {
    fn new() -> Result<Self, ErrorStack> {
        let name = Ssl::new_ex_index()?;
        let mut context = SslContext::builder(SslMethod::tls_server())?;
        context.set_client_hello_callback(move |ssl, _| {
            let found = server_name_extension(ssl).and_then(host_name);
            ssl.set_ex_data(name, found.map_or(Hello::Unnamed, Hello::Named));
            Ok(ClientHelloResponse::RETRY)
        });
        Ok(Parser { context: context.build(), name })
    }
}

/// Looks for the server name at the beginning of a stream.
pub fn parse(bytes: &[u8]) -> Hello {
    static PARSER: OnceLock<Option<Parser>> = OnceLock::new();
    let Some(parser) = PARSER.get_or_init(|| Parser::new().ok()) else { return Hello::Unnamed };
    let Ok(ssl) = Ssl::new(&parser.context) else { return Hello::Unnamed };
    let (stopped, waits) = match ssl.accept(HelloBytes(bytes)) {
        Err(HandshakeError::WouldBlock(stopped)) => (stopped, true),
        Err(HandshakeError::Failure(stopped)) => (stopped, false),
        Err(HandshakeError::SetupFailure(_)) | Ok(_) => return Hello::Unnamed,
    };
    match stopped.ssl().ex_data(parser.name) {
        Some(hello) => hello.clone(),
        None if waits && bytes.len() < HELLO_MAX => Hello::Partial,
        None => Hello::Unnamed,
    }
}

/// Reads the server name that a client asks for, and puts back all that was read. `None` without one, and when it has not come
/// within `limit`.
pub(super) async fn server_name(socket: &mut Socket, limit: Millis) -> Option<String> {
    let mut bytes = Vec::new();
    let mut framing = HelloFraming::default();
    let found =
        read_until(socket, &mut bytes, (HELLO_MAX, limit), |bytes, ended| match framing.look(bytes) {
            HelloProgress::Partial if !ended => None,
            // Once, since it makes the state of a handshake.
            HelloProgress::Whole => match parse(bytes) {
                Hello::Named(name) => Some(Some(name)),
                Hello::Partial | Hello::Unnamed => Some(None),
            },
            _ => Some(None),
        });
    let name = found.await.ok().flatten();
    if !bytes.is_empty() {
        socket.put_back(bytes);
    }
    name
}
