//! The lanes of a relay: the event port forwards the short messages of a connection that goes on, many at a time. The relay
//! learns of them when it is woken for something else.

use crate::net::filter::SharedMeter;
use crate::net::stream::Stream;
use crate::sys::socket::{Lane, LaneOwner, LaneStop, LaneTransfer};

use super::buffer::PendingWrite;
use super::direction::{Direction, FastPathOutcome, TransferOutcome};
use super::side::Side;

/// Messages after which a connection gets lanes. Many have a single request, and lanes take memory.
const MESSAGES: u8 = 4;

/// The lanes up and down, once a connection has them.
pub(super) type Lanes = Option<Box<[Lane; 2]>>;

/// Both directions wait for their sources: from now on their lanes forward short messages. `messages` counts these
/// calls until there are lanes.
#[inline]
pub(super) fn open(
    lanes: &mut Lanes,
    messages: &mut u8,
    (client, server): (&Stream, &Stream),
    (up, down): (&Direction, &Direction),
    meter: &impl SharedMeter,
) {
    if *messages < MESSAGES {
        *messages += 1;
        if *messages == MESSAGES {
            *lanes = make(client, server, meter);
        }
    }
    if let Some(lanes) = lanes {
        lanes[0].set_open(up.has_short_messages());
        lanes[1].set_open(down.has_short_messages());
    }
}

/// Closes the lanes, and returns what each has transferred, up and down.
#[inline]
pub(super) fn close(lanes: &Lanes) -> [Option<LaneTransfer>; 2] {
    let Some(lanes) = lanes else { return [None, None] };
    lanes.iter().for_each(|lane| lane.set_open(false));
    [lanes[0].take(), lanes[1].take()]
}

fn make(client: &Stream, server: &Stream, meter: &impl SharedMeter) -> Lanes {
    let (Stream::Plain(client), Stream::Plain(server)) = (client, server) else { return None };
    let up = client.lane_to(server, Box::new(MeteredLane { meter: meter.clone(), to: Side::Server }))?;
    let down = server.lane_to(client, Box::new(MeteredLane { meter: meter.clone(), to: Side::Client }))?;
    Some(Box::new([up, down]))
}

/// The owner of a lane to that side: counts the bytes with `meter`.
struct MeteredLane<M> {
    meter: M,
    to: Side,
}

impl<M: SharedMeter> LaneOwner for MeteredLane<M> {
    fn may_forward(&self) -> bool {
        !self.meter.awaits_look()
    }

    fn count(&self, bytes: usize) {
        match self.to {
            Side::Client => self.meter.to_client(bytes),
            Side::Server => self.meter.to_server(bytes),
        }
    }
}

impl Direction {
    /// Takes over what its lane has transferred; returns what is left to be done, if anything.
    pub(super) fn take_over(&mut self, transfer: LaneTransfer) -> Option<FastPathOutcome> {
        self.note_transfer(transfer.bytes, transfer.was_long);
        let stop = transfer.stop?;
        self.forget_waker();
        Some(match stop {
            LaneStop::Unwritten(bytes) => {
                self.keep(PendingWrite::of(bytes, 0));
                FastPathOutcome::Continue(None)
            }
            LaneStop::ReadFailed(error) => {
                FastPathOutcome::Continue(Some(TransferOutcome::ReadFailed(error)))
            }
            LaneStop::WriteFailed(error) => FastPathOutcome::Dead(self.die(error)),
        })
    }
}

/// Whether the client has sent something since the server did, if the lanes have transferred anything that shows it.
pub(super) fn answer_due(up: Option<&LaneTransfer>, down: Option<&LaneTransfer>) -> Option<bool> {
    let turn = |transfer: Option<&LaneTransfer>| transfer.filter(|c| c.bytes > 0).map_or(0, |c| c.turn);
    let (up, down) = (turn(up), turn(down));
    (up.max(down) > 0).then_some(up > down)
}
