//! A handshake in steps, which holds little memory while it waits for its peer.

#![allow(unsafe_code, reason = "gives back memory of libssl")]

use std::pin::Pin;
use std::task::{Context, Poll};

use openssl::ssl::{Error, SslRef};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_openssl::SslStream;

use super::platform::{self, MessageBuffer};

/// Makes it possible to give memory of handshakes back. Must be called before anything else that uses OpenSSL;
/// otherwise, and on systems other than Linux, [`ServerHandshake::release_memory`] does nothing.
pub fn prepare_memory() {
    platform::watch_library_memory();
}

/// The server's side of a handshake.
#[derive(Debug)]
pub struct ServerHandshake<S> {
    stream: SslStream<S>,
    buffer: MessageBuffer,
}

impl<S: AsyncRead + AsyncWrite + Unpin> ServerHandshake<S> {
    /// A handshake that has not begun.
    pub fn new(stream: SslStream<S>) -> Self {
        ServerHandshake { stream, buffer: MessageBuffer::default() }
    }

    /// Continues the handshake as far as it gets.
    ///
    /// # Errors
    /// See SSL_accept(3).
    pub fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let stream = Pin::new(&mut self.stream);
        self.buffer.during(|| stream.poll_accept(cx))
    }

    /// Gives back what memory the handshake does not use, about 16 KiB of 45, until it continues. That takes two or three
    /// microseconds, and as long again when it continues: it is meant for a handshake whose peer has not answered for a while.
    pub fn release_memory(&mut self) {
        // SAFETY: only `poll_accept` continues the handshake, within `during`, and nobody can call it meanwhile.
        unsafe { self.buffer.release_unused() };
    }

    /// The state of the connection.
    pub fn ssl(&self) -> &SslRef {
        self.stream.ssl()
    }

    /// What is below TLS.
    pub fn get_mut(&mut self) -> &mut S {
        self.stream.get_mut()
    }

    /// The connection, for when the handshake is made.
    pub fn into_stream(self) -> SslStream<S> {
        self.stream
    }
}
