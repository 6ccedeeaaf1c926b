//! What passes between a lane and the task that opened it.

use std::io;
use std::time::Instant;

/// The size of a lane's read. Longer messages are left to the task, which reads more at once and splices.
pub const LANE_ROOM: usize = 4096;

/// The owner of a lane: decides whether the lane may forward a message, and counts the forwarded bytes.
pub trait LaneOwner: Send + Sync {
    /// Whether the lane may forward the next message. If not, the event wakes the owner's task, which reads the message itself.
    fn may_forward(&self) -> bool;

    /// The lane has written this many bytes to its destination.
    fn count(&self, bytes: usize);
}

/// What a lane has transferred since its owner last asked.
#[derive(Debug, Default)]
pub struct LaneTransfer {
    /// The bytes that the destination has accepted.
    pub bytes: u64,
    /// The last turn of the event port in which the lane read something.
    pub turn: u64,
    /// When it last wrote something.
    pub last: Option<Instant>,
    /// A read filled the whole buffer: the message may be longer than that.
    pub was_long: bool,
    /// Why the lane has stopped, if it has.
    pub stop: Option<LaneStop>,
}

/// Why a lane has stopped: its task has to continue.
#[derive(Debug)]
pub enum LaneStop {
    /// The destination did not accept these bytes, which were read.
    Unwritten(Vec<u8>),
    /// Reading from the source failed.
    ReadFailed(io::Error),
    /// Writing to the destination failed. The bytes that were read are lost.
    WriteFailed(io::Error),
}
