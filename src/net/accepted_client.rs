//! A client that was accepted.

use crate::core::Millis;

use super::known_client::KnownClient;

/// What is known of a client when it has been accepted.
#[derive(Debug)]
pub struct AcceptedClient {
    /// Who connected.
    pub known: KnownClient,
    /// The descriptor towards it.
    pub downfd: i32,
    /// When it was accepted.
    pub began: Millis,
}
