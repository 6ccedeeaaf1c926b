//! The fast path of a direction: a single message, which is the most common case, is read and written without checking
//! anything else. All other cases are left to [`Direction::poll`].

use std::io::ErrorKind;
use std::task::Context;

use super::state::{Direction, SideError, TransferOutcome};
use crate::net::filter::TrafficMeter;
use crate::net::relay::buffer::{self, PendingWrite, READ_SIZE};
use crate::net::stream::Stream;

/// The work that [`Direction::fast_path`] leaves.
pub(in crate::net::relay) enum FastPathOutcome {
    /// None: the source has no more data and holds the waker.
    Idle,
    /// [`Direction::poll`] has to continue, with this step if there is one.
    Continue(Option<TransferOutcome>),
    /// The destination accepts no more data, which the other direction has to know before it continues.
    Dead(SideError),
}

impl Direction {
    /// Passes on available data that no filter has to see.
    #[inline]
    pub(in crate::net::relay) fn fast_path<M: TrafficMeter>(
        &mut self,
        cx: &mut Context<'_>,
        meter: &M,
        source: &Stream,
        destination: &Stream,
    ) -> FastPathOutcome {
        // A direction that awaits its source is open and has delivered everything.
        if !self.awaits_source || self.is_bulk() {
            return FastPathOutcome::Continue(None);
        }
        if !source.may_be_readable() {
            return FastPathOutcome::Idle;
        }
        self.awaits_source = false;
        match self.pass_on(meter, source, destination) {
            Err(TransferOutcome::WriteFailed(error)) => FastPathOutcome::Dead(self.die(error)),
            Err(step) => FastPathOutcome::Continue(Some(step)),
            Ok(alone) if alone && source.poll_readable(cx).is_pending() => {
                self.awaits_source = true;
                FastPathOutcome::Idle
            }
            Ok(_) => FastPathOutcome::Continue(None),
        }
    }

    /// One read and one write. Returns whether that was all: the source had no more data, and the destination accepted
    /// it.
    #[inline]
    fn pass_on<M: TrafficMeter>(
        &mut self,
        meter: &M,
        source: &Stream,
        destination: &Stream,
    ) -> Result<bool, TransferOutcome> {
        buffer::with_read_buffer(|buffer| {
            let chunk = match source.try_read(buffer) {
                Ok(0) => return Err(TransferOutcome::End),
                Ok(n) => &buffer[..n],
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(e) => return Err(TransferOutcome::ReadFailed(e)),
            };
            self.note_read(chunk.len());
            // The end of stream that follows the last bytes, as from a server that answers and closes, is sent with
            // them.
            let last = chunk.len() < READ_SIZE && source.is_at_end();
            let written = match destination.try_write(chunk, last) {
                Ok(n) => n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => 0,
                Err(e) => return Err(TransferOutcome::WriteFailed(e)),
            };
            self.count(meter, written);
            let pending_write = &chunk[written..];
            if !pending_write.is_empty() {
                self.pending_write = Some(PendingWrite::copy_of(pending_write));
            }
            match pending_write.is_empty() {
                true if last => Err(TransferOutcome::End),
                all => Ok(all && chunk.len() < READ_SIZE),
            }
        })
    }
}
