//! A connection that pen ends: for a command, at its own end, or because it is idle.
//!
//! A peer must not take its data for complete when more was to come: a stream that is cut off ends with RST, and one at
//! rest with FIN. More was to come if bytes are read and not delivered, if bytes wait to be read, if bytes were just
//! transferred, if the client has sent something since its server did, or if the opposite stream has ended: a side that
//! has finished sending waits for an answer. A server that pauses in the middle of an answer cannot be distinguished
//! from one that has finished, unless a filter knows its messages; so a connection whose server is down is at rest only
//! if a filter says so.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use super::closing::CloseMode;
use super::direction::{Direction, DirectionState};

/// How long a connection that is told to end continues: data that is nearly complete may become so, and a direction
/// that moves within this time is not at rest.
const LAST: Duration = Duration::from_millis(100);

/// How long peers may take to acknowledge earlier data.
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// The time for which a connection that is told to end goes on.
pub(super) struct GracePeriod {
    timer: Pin<Box<Sleep>>,
    /// The server no longer works: that it sends nothing does not mean that it has finished.
    pub(super) server_is_down: bool,
    /// The bytes that each direction had moved when it began, once the relay has been polled.
    moved: Option<[u64; 2]>,
}

impl GracePeriod {
    /// Starts the wait.
    pub(super) fn new(server_is_down: bool) -> Self {
        Self { timer: Box::pin(sleep(LAST)), server_is_down, moved: None }
    }

    /// Ready when the time is over, with whether each direction seems to be at rest, given the bytes that it had moved `before`
    /// this poll of the relay and has by now.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        before: [u64; 2],
        moved: [u64; 2],
    ) -> Poll<[bool; 2]> {
        let [up, down] = *self.moved.get_or_insert(before);
        self.timer.as_mut().poll(cx).map(|()| [up == moved[0], down == moved[1]])
    }
}

/// The state of one direction when its end is decided.
pub(super) struct DirectionProgress<'a> {
    pub(super) direction: &'a Direction,
    /// Bytes wait to be read from its source.
    pub(super) unread: bool,
    /// No bytes were transferred recently, and none are expected.
    pub(super) at_rest: bool,
    /// A filter knows that everything that the other side asked for has come.
    pub(super) is_complete: bool,
}

impl DirectionProgress<'_> {
    /// Whether more was to come, given whether the source of the other direction has ended.
    fn is_cut(&self, other_ended: bool) -> bool {
        match self.direction.state() {
            DirectionState::Open => self.unread || !self.at_rest || (other_ended && !self.is_complete),
            DirectionState::Failed => true,
            DirectionState::Ended | DirectionState::Shut | DirectionState::Dead => false,
        }
    }
}

/// How to close the client and the server, given the state of the directions up (from the client) and down.
pub(super) fn close_modes(
    up: &DirectionProgress<'_>,
    down: &DirectionProgress<'_>,
) -> (CloseMode, CloseMode) {
    if up.direction.pending() > 0 || down.direction.pending() > 0 {
        // The sender must learn that its last bytes did not arrive.
        return (CloseMode::Reset, CloseMode::Reset);
    }
    let mode = |progress: &DirectionProgress<'_>, other: &DirectionProgress<'_>| {
        if progress.is_cut(other.direction.eof()) { CloseMode::Reset } else { CloseMode::Close }
    };
    (mode(down, up), mode(up, down))
}
