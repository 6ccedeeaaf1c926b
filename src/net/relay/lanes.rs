//! The lanes of a relay: short messages of a connection that goes on are carried by the event port, many at a time, and the
//! relay hears of them when it is woken for something else.

use crate::net::filter::SharedMeter;
use crate::net::stream::Stream;
use crate::sys::socket::{Carried, Carrier, Lane, Rest};

use super::buffer::PendingWrite;
use super::direction::{Direction, Outcome, Step};
use super::side::Side;

/// Messages after which a connection gets lanes. Many have a single request, and lanes take memory.
const MESSAGES: u8 = 4;

/// The lanes up and down, once a connection has them.
pub(super) type Lanes = Option<Box<[Lane; 2]>>;

/// Both directions wait for their sources: from now on their lanes carry what comes, where it is short. `messages` counts these
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

/// Closes the lanes, and returns what each has carried, up and down.
#[inline]
pub(super) fn close(lanes: &Lanes) -> [Option<Carried>; 2] {
    let Some(lanes) = lanes else { return [None, None] };
    lanes.iter().for_each(|lane| lane.set_open(false));
    [lanes[0].take(), lanes[1].take()]
}

fn make(client: &Stream, server: &Stream, meter: &impl SharedMeter) -> Lanes {
    let (Stream::Plain(client), Stream::Plain(server)) = (client, server) else { return None };
    let up = client.lane_to(server, Box::new(Metered { meter: meter.clone(), to: Side::Server }))?;
    let down = server.lane_to(client, Box::new(Metered { meter: meter.clone(), to: Side::Client }))?;
    Some(Box::new([up, down]))
}

/// What a lane is for: it counts for `meter` what goes to that side.
struct Metered<M> {
    meter: M,
    to: Side,
}

impl<M: SharedMeter> Carrier for Metered<M> {
    fn may_carry(&self) -> bool {
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
    /// Takes over what its lane has carried; what that leaves to be done, if anything.
    pub(super) fn take_over(&mut self, carried: Carried) -> Option<Outcome> {
        self.note_carried(carried.bytes, carried.was_long);
        let rest = carried.rest?;
        self.forget_waker();
        Some(match rest {
            Rest::Unwritten(bytes) => {
                self.keep(PendingWrite::of(bytes, 0));
                Outcome::Continue(None)
            }
            Rest::ReadFailed(error) => Outcome::Continue(Some(Step::ReadFailed(error))),
            Rest::WriteFailed(error) => Outcome::Dead(self.die(error)),
        })
    }
}

/// Whether the client has sent something since the server did, where what the lanes have carried tells.
pub(super) fn answer_due(up: Option<&Carried>, down: Option<&Carried>) -> Option<bool> {
    let turn = |carried: Option<&Carried>| carried.filter(|c| c.bytes > 0).map_or(0, |c| c.turn);
    let (up, down) = (turn(up), turn(down));
    (up.max(down) > 0).then_some(up > down)
}
