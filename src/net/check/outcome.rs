//! What a check has found, or what kept it from that.

use crate::core::error::SystemReason;
use crate::net::connect::failure::{Failure, Origin};

/// What a check has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The server does what it should; what it did.
    Success(String),
    /// It does not; what is wrong.
    Failure(String),
    /// Nothing, for a reason on this side: it says nothing about the server.
    Unknown(String),
}

impl Outcome {
    /// As the server's health is judged by it.
    pub(super) fn success(&self) -> Option<bool> {
        match self {
            Outcome::Success(_) => Some(true),
            Outcome::Failure(_) => Some(false),
            Outcome::Unknown(_) => None,
        }
    }
}

/// What kept a check from a success.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The server.
    Server(String),
    /// Pen or its system.
    Here(String),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        let reason = SystemReason(&failure.error).to_string();
        match failure.origin {
            Origin::Upstream => Trouble::Server(reason),
            Origin::Internal | Origin::Shortage | Origin::Downstream => Trouble::Here(reason),
        }
    }
}
