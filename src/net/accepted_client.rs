//! A client whose connection was accepted.

use crate::core::Millis;

use super::known_client::KnownClient;

/// What is known about a client when its connection is accepted.
#[derive(Debug)]
pub struct AcceptedClient {
    /// The client that connected.
    pub known: KnownClient,
    /// The descriptor of its socket.
    pub downfd: i32,
    /// When it was accepted.
    pub began: Millis,
}
