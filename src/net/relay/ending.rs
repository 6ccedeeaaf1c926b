//! A connection that pen ends by itself: for a command, at its own end, or because nothing moves.
//!
//! A peer must not take what it got for complete when more was to come: a stream that is cut off ends with RST, and one at
//! rest with FIN. What more was to come shows in what is read and not delivered, in what waits to be read, in what still
//! moves, in a client that has sent something since its server did, and in the end of the opposite stream: who has said all
//! that it has to say is waiting for an answer. A server that pauses in the middle of an answer cannot be told from one that
//! is done.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use super::closing::CloseMode;
use super::direction::{Direction, DirectionState};

/// How long a connection that is told to end goes on: what is nearly complete may become so, and what moves within this time
/// is not at rest.
const LAST: Duration = Duration::from_millis(100);

/// How long peers may take to acknowledge what was sent before.
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// A connection that is told to end.
pub(super) struct Ending {
    timer: Pin<Box<Sleep>>,
    /// What each direction had moved then.
    moved: [u64; 2],
}

impl Ending {
    /// Begins, when so many bytes have moved up and down.
    pub(super) fn new(moved: [u64; 2]) -> Self {
        Self { timer: Box::pin(sleep(LAST)), moved }
    }

    /// Ready when the time is over, with whether each direction, of which so many bytes have moved now, is at rest.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, moved: [u64; 2]) -> Poll<[bool; 2]> {
        let [up, down] = self.moved;
        self.timer.as_mut().poll(cx).map(|()| [up == moved[0], down == moved[1]])
    }
}

/// One direction, as its end is decided on.
pub(super) struct Progress<'a> {
    pub(super) direction: &'a Direction,
    /// Bytes wait to be read from its source.
    pub(super) unread: bool,
    /// Nothing has moved of late, and nothing is awaited.
    pub(super) at_rest: bool,
}

impl Progress<'_> {
    /// Whether more was to come, when the source of the other direction has ended or not.
    fn is_cut(&self, other_ended: bool) -> bool {
        match self.direction.state() {
            DirectionState::Open => self.unread || !self.at_rest || other_ended,
            DirectionState::Failed => true,
            DirectionState::Ended | DirectionState::Shut | DirectionState::Dead => false,
        }
    }
}

/// How to close the client and the server, of which more may have been to come up (from the client) and down.
pub(super) fn close_modes(up: &Progress<'_>, down: &Progress<'_>) -> (CloseMode, CloseMode) {
    if up.direction.pending() > 0 || down.direction.pending() > 0 {
        // The sender has to learn that its last bytes did not arrive.
        return (CloseMode::Reset, CloseMode::Reset);
    }
    let mode = |progress: &Progress<'_>, other: &Progress<'_>| {
        if progress.is_cut(other.direction.eof()) { CloseMode::Reset } else { CloseMode::Close }
    };
    (mode(down, up), mode(up, down))
}
