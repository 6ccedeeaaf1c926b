//! The result of a check, or why it has none.

use crate::core::error::SystemReason;
use crate::net::connect::failure::{Failure, Origin};

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CheckOutcome {
    /// The server works; the reason.
    Success(String),
    /// The server does not work; the reason.
    Failure(String),
    /// No result, for a reason on this side: it says nothing about the server.
    Unknown(String),
}

impl CheckOutcome {
    /// The result for the server's health.
    pub(super) fn success(&self) -> Option<bool> {
        match self {
            CheckOutcome::Success(_) => Some(true),
            CheckOutcome::Failure(_) => Some(false),
            CheckOutcome::Unknown(_) => None,
        }
    }
}

/// Why a check did not succeed.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Through the server's fault.
    Server(String),
    /// Through pen's or its system's.
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
