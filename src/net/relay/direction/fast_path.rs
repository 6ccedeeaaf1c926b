//! The short way of a direction: a message that comes alone, which is most of what a relay does, is read and written with
//! nothing else to look at. Whatever else there is goes on in [`Direction::poll`].

use std::io::ErrorKind;
use std::task::Context;

use super::{Direction, Fault, Step};
use crate::net::filter::TrafficMeter;
use crate::net::relay::buffer::{self, PendingWrite, READ_SIZE};
use crate::net::stream::Stream;

/// How [`Direction::fast_path`] has left a direction.
pub(crate) enum Carried {
    /// The source has nothing more and takes the waker.
    Quiet,
    /// [`Direction::poll`] has to go on, if there is a step with that.
    Busy(Option<Step>),
    /// The destination takes no more, which the other direction has to know before it goes on.
    Dead(Fault),
}

impl Direction {
    /// Passes on what has come by the short way, where no filter is to see it.
    #[inline]
    pub(crate) fn fast_path<M: TrafficMeter>(
        &mut self,
        cx: &mut Context<'_>,
        meter: &M,
        source: &Stream,
        destination: &Stream,
    ) -> Carried {
        // A direction that waits is open and has delivered everything.
        if !self.waits || self.is_bulk() {
            return Carried::Busy(None);
        }
        if !source.has_news() {
            return Carried::Quiet;
        }
        self.waits = false;
        match self.pass_on(meter, source, destination) {
            Err(Step::WriteFailed(error)) => Carried::Dead(self.die(error)),
            Err(step) => Carried::Busy(Some(step)),
            Ok(alone) if alone && source.poll_news(cx).is_pending() => {
                self.waits = true;
                Carried::Quiet
            }
            Ok(_) => Carried::Busy(None),
        }
    }

    /// One read and one write. Tells whether that was all: the source had no more, and the destination took it.
    #[inline]
    fn pass_on<M: TrafficMeter>(
        &mut self,
        meter: &M,
        source: &Stream,
        destination: &Stream,
    ) -> Result<bool, Step> {
        buffer::with_read_buffer(|buffer| {
            let chunk = match source.try_read(buffer) {
                Ok(0) => return Err(Step::End),
                Ok(n) => &buffer[..n],
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(e) => return Err(Step::ReadFailed(e)),
            };
            self.note_read(chunk.len());
            // The end that comes with the last bytes, from a server that answers and closes, goes on with them too.
            let last = chunk.len() < READ_SIZE && source.is_at_end();
            let written = match destination.try_write(chunk, last) {
                Ok(n) => n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => 0,
                Err(e) => return Err(Step::WriteFailed(e)),
            };
            self.count(meter, written);
            let pending_write = &chunk[written..];
            if !pending_write.is_empty() {
                self.pending_write = Some(PendingWrite::copy_of(pending_write));
            }
            match pending_write.is_empty() {
                true if last => Err(Step::End),
                all => Ok(all && chunk.len() < READ_SIZE),
            }
        })
    }
}
