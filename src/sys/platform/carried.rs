//! What a lane tells its task.

use std::io;

/// Bytes that a lane reads at once. Longer messages are left to tasks, which read more at once and splice.
pub const LANE_ROOM: usize = 4096;

/// Whom a lane is for.
pub trait Carrier: Send + Sync {
    /// Whether the lane may carry the next message. False when its task has to look at something first, which wakes it anyway.
    fn may_carry(&self) -> bool;

    /// The lane has delivered a message of so many bytes, or a part.
    fn count(&self, bytes: usize);
}

/// What a lane has carried since it was last asked.
#[derive(Debug, Default)]
pub struct Carried {
    /// The bytes that the destination took.
    pub bytes: u64,
    /// When it carried something last, in turns of the event port.
    pub turn: u64,
    /// A message was as long as a lane reads at once, or longer.
    pub was_long: bool,
    /// What it leaves to whoever opened it.
    pub rest: Option<Rest>,
}

/// What a lane cannot do itself.
#[derive(Debug)]
pub enum Rest {
    /// These bytes were read, and the destination took no more.
    Unwritten(Vec<u8>),
    /// The source had an error.
    ReadFailed(io::Error),
    /// The destination had an error. What was read is lost.
    WriteFailed(io::Error),
}
