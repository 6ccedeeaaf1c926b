//! How a connection went.

use std::io;

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
}

/// Why a connection is over.
#[derive(Debug)]
pub enum Cause {
    /// Both sides ended, or one that is enough by `tcp_fastclose`.
    Closed,
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
