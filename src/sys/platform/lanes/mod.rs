//! The messages that lanes forward in one turn of an event port: all of them are read, then all are written.
#![allow(unsafe_code, reason = "the calls are listed as pointers, which borrow checks cannot follow")]

use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::call::{RawCall, Returned};
use super::events::{READABLE, WRITABLE};
use super::lane_transfer::{LANE_ROOM as ROOM, LaneStop};
use super::slot::{PollSlot, PolledLane};
use super::together::Together;

/// The most messages of one turn.
const MOST: usize = 256;

/// Forwards the messages of a turn, and keeps the memory for the next one.
#[derive(Debug)]
pub(super) struct LaneBatch {
    together: Together,
    messages: Vec<LaneMessage>,
    /// Pages that are never written cost no memory.
    rooms: Box<[u8]>,
    calls: Vec<RawCall>,
    returned: Vec<Returned>,
    turn: u64,
}

// SAFETY: the pointers in the list of calls are used by `LaneBatch::forward` alone, which lists them anew each time.
unsafe impl Send for LaneBatch {}

/// A message to be forwarded.
#[derive(Debug)]
struct LaneMessage {
    slot: Arc<PollSlot>,
    lane: Arc<PolledLane>,
    destination: Arc<PollSlot>,
    length: usize,
}

impl LaneBatch {
    pub(super) fn new(together: Together) -> Self {
        Self {
            together,
            messages: Vec::new(),
            rooms: vec![0; ROOM * MOST].into_boxed_slice(),
            calls: Vec::new(),
            returned: Vec::new(),
            turn: 0,
        }
    }

    /// Begins a turn.
    pub(super) fn begin(&mut self) {
        self.turn += 1;
        self.messages.clear();
    }

    /// Adds the message that `events` report for a socket, if its lane may forward it. If not, the caller has to notify the task.
    pub(super) fn take(&mut self, slot: &Arc<PollSlot>, events: u32) -> bool {
        if self.messages.len() == MOST {
            return false;
        }
        let Some((lane, destination)) = slot.lane_for(events) else { return false };
        self.messages.push(LaneMessage { slot: Arc::clone(slot), lane, destination, length: 0 });
        slot.tell(events & !READABLE);
        true
    }

    /// Forwards all messages of the turn, and notifies the tasks of what is left.
    pub(super) fn forward(&mut self) {
        if self.messages.is_empty() {
            return;
        }
        self.receive();
        self.send();
        self.messages.clear();
    }

    fn receive(&mut self) {
        let Self { together, messages, rooms, calls, returned, .. } = self;
        calls.clear();
        calls.extend(messages.iter().zip(rooms.chunks_exact_mut(ROOM)).map(|(message, room)| {
            RawCall::Receive { socket: message.lane.source, room: room.as_mut_ptr(), length: ROOM }
        }));
        // SAFETY: each has a room of its own, which nobody touches until the calls are over.
        unsafe { together.make(calls, returned) };
        for (message, returned) in messages.iter_mut().zip(returned) {
            match returned.count() {
                // The end of the stream is still there to be read.
                Ok(0) => message.slot.tell(READABLE),
                Ok(count) => message.length = count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    message.lane.stop(LaneStop::ReadFailed(error));
                    message.slot.tell(READABLE);
                }
            }
        }
    }

    fn send(&mut self) {
        let Self { together, messages, rooms, calls, returned, turn } = self;
        let full = || {
            messages.iter().zip(rooms.chunks_exact(ROOM)).filter_map(|(message, room)| {
                (message.length > 0).then_some((message, room.get(..message.length)?))
            })
        };
        calls.clear();
        calls.extend(full().map(|(message, bytes)| RawCall::Send {
            socket: message.lane.destination,
            bytes: bytes.as_ptr(),
            length: bytes.len(),
        }));
        // SAFETY: the rooms are not changed until the calls are over.
        unsafe { together.make(calls, returned) };
        // Of all of them: a connection is idle for much longer than a turn takes.
        let now = Instant::now();
        for ((LaneMessage { slot, lane, destination, .. }, bytes), returned) in full().zip(returned) {
            let count = match returned.count() {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) => {
                    lane.stop(LaneStop::WriteFailed(error));
                    slot.tell(READABLE);
                    continue;
                }
            };
            let is_long = bytes.len() == ROOM;
            lane.record((*turn, now), count, is_long);
            if count < bytes.len() {
                destination.clear(WRITABLE);
                lane.stop(LaneStop::Unwritten(bytes[count..].to_vec()));
            }
            if is_long || count < bytes.len() {
                slot.tell(READABLE);
            }
        }
    }
}

#[cfg(test)]
mod tests;
