//! The parts of a direction, and its state.

use std::io;
use std::task::Context;

use crate::net::filter::{StreamFilter, TrafficMeter};
use crate::net::relay::buffer::{PendingWrite, READ_SIZE};
use crate::net::relay::side::Side;
use crate::sys::socket::LANE_ROOM;
use crate::sys::splice::{Pipe, Pool};

/// The number of consecutive full reads after which a direction is bulk, and worth a pipe.
const BULK: u8 = 2;

/// The state of a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::net::relay) enum DirectionState {
    /// Bytes may follow.
    Open,
    /// The source has ended; the bytes read are delivered, then the half close.
    Ended,
    /// The source broke off; the bytes read are delivered, but no clean end may follow.
    Failed,
    /// Everything is delivered, including the half close.
    Shut,
    /// The destination accepts no more data.
    Dead,
}

/// What a direction needs besides its two streams.
pub(in crate::net::relay) struct PollContext<'a, 'w, M> {
    pub(in crate::net::relay) cx: &'a mut Context<'w>,
    pub(in crate::net::relay) meter: &'a M,
    pub(in crate::net::relay) filter: &'a mut Option<Box<dyn StreamFilter + Send>>,
    pub(in crate::net::relay) pool: Option<&'a Pool>,
    /// Nothing more must be read: the direction ends after the bytes already read.
    pub(in crate::net::relay) stop: bool,
    /// The other direction is done, so closing the destination has the effect of a half close.
    pub(in crate::net::relay) other_done: bool,
    /// A write to the source has failed with a reset, so an end of stream from read(2) is not a clean one.
    pub(in crate::net::relay) source_was_reset: bool,
}

/// One direction.
#[derive(Debug)]
pub(in crate::net::relay) struct Direction {
    pub(super) pending_write: Option<PendingWrite>,
    /// Held while the source sends bulk data; filled only when empty.
    pub(super) pipe: Option<Box<Pipe>>,
    pub(super) moved: u64,
    /// The number of consecutive full reads; and how many make a pipe worth its cost, 0 for never.
    pub(super) full: u8,
    pub(super) bulk: u8,
    /// Bytes that went through the pipe since it was taken.
    pub(super) spliced: u32,
    pub(super) to: Side,
    pub(super) state: DirectionState,
    /// The source itself has ended, rather than the relay because of fastclose.
    pub(super) eof: bool,
    /// The destination was reset, rather than closed for reading by its peer.
    pub(super) reset: bool,
    /// The system had no memory to send or receive: see [`Direction::lacks_memory`].
    pub(super) lacks_memory: bool,
    /// The source had no data when it was last read, and holds the waker.
    pub(super) awaits_source: bool,
    /// What was read last is short enough for a lane.
    pub(super) short: bool,
}

/// The side whose socket had an error, and the error.
pub(in crate::net::relay) type SideError = (Side, io::Error);

/// The result of a read from the source, or of passing data on to the destination.
pub(in crate::net::relay) enum TransferOutcome {
    /// So many bytes were read.
    Moved(usize),
    End,
    ReadFailed(io::Error),
    WriteFailed(io::Error),
}

impl Direction {
    /// A direction towards `side`; `splice` allows splicing.
    pub(in crate::net::relay) fn to(side: Side, splice: bool) -> Self {
        Self {
            pending_write: None,
            pipe: None,
            moved: 0,
            full: 0,
            bulk: if splice { BULK } else { 0 },
            spliced: 0,
            to: side,
            state: DirectionState::Open,
            eof: false,
            reset: false,
            lacks_memory: false,
            awaits_source: false,
            short: false,
        }
    }

    /// The waker has changed, so the source no longer holds the current one.
    pub(in crate::net::relay) fn forget_waker(&mut self) {
        self.awaits_source = false;
    }

    pub(in crate::net::relay) fn state(&self) -> DirectionState {
        self.state
    }

    /// Bytes delivered so far.
    pub(in crate::net::relay) fn moved(&self) -> u64 {
        self.moved
    }

    /// Bytes read and not yet delivered.
    pub(in crate::net::relay) fn pending(&self) -> usize {
        self.pending_write.as_ref().map_or(0, |pending_write| pending_write.bytes().len())
            + self.pipe.as_ref().map_or(0, |pipe| pipe.len())
    }

    /// Whether the message that was read last is one for a lane.
    pub(in crate::net::relay) fn has_short_messages(&self) -> bool {
        self.short
    }

    /// Its lane has delivered so many bytes.
    pub(in crate::net::relay) fn note_transfer(&mut self, bytes: u64, was_long: bool) {
        self.moved += bytes;
        self.full = 0;
        self.short = !was_long;
    }

    /// Keeps bytes that were read: they are to be delivered before anything else is read.
    pub(in crate::net::relay) fn keep(&mut self, bytes: PendingWrite) {
        self.pending_write = Some(bytes);
    }

    /// Whether its source has ended and everything is delivered: nothing more will happen.
    pub(in crate::net::relay) fn done(&self) -> bool {
        self.state == DirectionState::Shut && self.eof
    }

    /// Whether the source has ended cleanly.
    pub(in crate::net::relay) fn eof(&self) -> bool {
        self.eof
    }

    /// Whether bytes are lost, or were not received, because the system lacked memory: neither peer is to blame, and
    /// neither learns of it unless its connection is reset.
    pub(in crate::net::relay) fn lacks_memory(&self) -> bool {
        self.lacks_memory
    }

    /// Whether the destination is known to have been reset.
    pub(in crate::net::relay) fn was_reset(&self) -> bool {
        self.reset
    }

    /// Whether the source sends bulk data, worth a pipe.
    pub(super) fn is_bulk(&self) -> bool {
        self.bulk != 0 && self.full >= self.bulk
    }

    /// Counts consecutive full reads, which indicate bulk data.
    pub(super) fn note_read(&mut self, bytes: usize) {
        self.full = if bytes == READ_SIZE { self.full.saturating_add(1) } else { 0 };
        self.short = bytes < LANE_ROOM;
    }

    pub(super) fn count<M: TrafficMeter>(&mut self, meter: &M, bytes: usize) {
        self.moved += bytes as u64;
        match self.to {
            Side::Client => meter.to_client(bytes),
            Side::Server => meter.to_server(bytes),
        }
    }
}
