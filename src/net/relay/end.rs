//! How a connection went.

use std::io;

use crate::core::end_reason::EndReason;

use super::side::Side;

/// How a connection went.
#[derive(Debug)]
pub struct End {
    /// Bytes delivered to the server.
    pub to_server: u64,
    /// Bytes delivered to the client.
    pub to_client: u64,
    /// Why it is over.
    pub cause: Cause,
    /// Whose stream ended first, if one of them did.
    pub first: Option<Side>,
}

/// Why a connection is over.
#[derive(Debug)]
pub enum Cause {
    /// Both sides ended, or one that is enough by `tcp_fastclose`.
    Closed,
    /// The filter has turned the client's request down, and answered it.
    Refused,
    /// Nothing moved for the idle timeout.
    Idle,
    /// Pen has ended it: for a command, or at its own end.
    Ended,
    /// The first error, and the side whose socket had it.
    Broken {
        /// Whose.
        side: Side,
        /// What read(2), write(2), shutdown(2) or TLS said.
        error: io::Error,
    },
}

impl End {
    /// The word for it; none where whoever has asked for the end knows it.
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
            // EPIPE follows the peer's own end of stream.
            Cause::Broken { side, error } if error.kind() == io::ErrorKind::BrokenPipe => Some(closed(*side)),
            Cause::Broken { side: Side::Client, .. } => Some(EndReason::ClientReset),
            Cause::Broken { side: Side::Server, .. } => Some(EndReason::ServerReset),
        }
    }
}
