//! What a relay has transferred, and why it ended.

use std::io;

use crate::core::end_reason::EndReason;
use crate::sys::error::is_shortage;

use super::side::Side;

/// The outcome of a relay.
#[derive(Debug)]
pub struct RelayOutcome {
    /// Bytes delivered to the server.
    pub to_server: u64,
    /// Bytes delivered to the client.
    pub to_client: u64,
    /// Why it ended.
    pub cause: Cause,
    /// The side whose stream ended first, if one did.
    pub first: Option<Side>,
}

/// Why a connection ended.
#[derive(Debug)]
pub enum Cause {
    /// Both sides ended, or one that suffices by `tcp_fastclose`.
    Closed,
    /// The filter has rejected the client's request, and answered it.
    Refused,
    /// Nothing was transferred for the idle timeout.
    Idle,
    /// Pen has ended it: for a command, or at its own end.
    Ended,
    /// The first error, and the side whose socket had it.
    Broken {
        /// The side.
        side: Side,
        /// The error of read(2), write(2), shutdown(2) or TLS.
        error: io::Error,
    },
}

impl RelayOutcome {
    /// The reason for the log; `None` if the code that requested the end knows it.
    pub fn reason(&self) -> Option<EndReason> {
        let closed = |side| match side {
            Side::Client => EndReason::ClientClosed,
            Side::Server => EndReason::ServerClosed,
        };
        match &self.cause {
            Cause::Closed => Some(closed(self.first.unwrap_or(Side::Client))),
            Cause::Refused => Some(EndReason::BadRequest),
            Cause::Idle => Some(EndReason::Idle),
            Cause::Ended => None,
            Cause::Broken { .. } if self.shortage().is_some() => Some(EndReason::Shortage),
            // EPIPE follows the peer's own end of stream.
            Cause::Broken { side, error } if error.kind() == io::ErrorKind::BrokenPipe => Some(closed(*side)),
            Cause::Broken { side: Side::Client, .. } => Some(EndReason::ClientReset),
            Cause::Broken { side: Side::Server, .. } => Some(EndReason::ServerReset),
        }
    }

    /// The error, if the system lacked what was needed to send or receive: no peer has failed.
    pub fn shortage(&self) -> Option<&io::Error> {
        match &self.cause {
            Cause::Broken { error, .. } if is_shortage(error) => Some(error),
            _ => None,
        }
    }
}
