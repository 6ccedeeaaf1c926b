//! The filter in one direction: it sees and may rewrite the client's data, sees the server's data, and may send the
//! last bytes.

use super::state::{Direction, DirectionState, PollContext, TransferOutcome};
use crate::core::http::AnswerProgress;
use crate::net::filter::{FilterDemand, FilterVerdict, StreamFilter, TrafficMeter};
use crate::net::relay::buffer::{self, PendingWrite, READ_SIZE};
use crate::net::relay::side::Side;
use crate::net::stream::Stream;

type Filter = Option<Box<dyn StreamFilter + Send>>;

impl Direction {
    /// What the filter requires before more is read: for the client only, except for an end.
    pub(super) fn demand(&self, filter: &Filter) -> FilterDemand {
        match filter {
            Some(filter) if self.to == Side::Server => filter.demand(),
            _ => FilterDemand::Read,
        }
    }

    /// How many of the source's next bytes may bypass the filter: 0 if it is not worth it.
    pub(super) fn unseen(&self, filter: &Filter) -> usize {
        let unseen = match (filter, self.to) {
            (None, _) => u64::MAX,
            (Some(filter), Side::Server) => filter.opaque(),
            (Some(filter), Side::Client) => filter.opaque_response(),
        };
        match usize::try_from(unseen).unwrap_or(usize::MAX) {
            few if few < READ_SIZE => 0,
            many => many,
        }
    }

    /// So many bytes of the source bypassed the filter.
    pub(super) fn skip(&self, bytes: usize, filter: &mut Filter) {
        match (filter, self.to) {
            (None, _) => {}
            (Some(filter), Side::Server) => filter.skip(bytes as u64),
            (Some(filter), Side::Client) => filter.skip_response(bytes as u64),
        }
    }

    /// The most bytes of the next read.
    pub(super) fn max_read(&self, filter: &Filter) -> usize {
        match filter {
            Some(shown) if self.to == Side::Server && self.unseen(filter) == 0 => shown.max_read().max(1),
            _ => usize::MAX,
        }
    }

    /// Passes a chunk to the filter, if it must see it.
    pub(super) fn show(&self, chunk: &[u8], filter: &mut Filter, out: &mut Vec<u8>) -> FilterVerdict {
        let unseen = self.unseen(filter);
        match (filter, self.to) {
            (Some(filter), Side::Server) if unseen == 0 => {
                *out = buffer::take();
                return filter.request(chunk, out);
            }
            (Some(filter), Side::Client) if unseen == 0 => filter.response(chunk),
            (filter, _) => self.skip(chunk.len(), filter),
        }
        FilterVerdict::Pass
    }

    /// Continues with the bytes that the filter has held.
    pub(super) fn resume<M: TrafficMeter>(
        &mut self,
        with: &mut PollContext<'_, '_, M>,
        destination: &mut Stream,
    ) -> TransferOutcome {
        let mut out = buffer::take();
        let Some(filter) = with.filter else { return TransferOutcome::Moved(0) };
        let verdict = filter.request(&[], &mut out);
        match self.write_or_keep(with, destination, &[], verdict, out) {
            Ok(()) => TransferOutcome::Moved(0),
            Err(error) => TransferOutcome::WriteFailed(error),
        }
    }

    /// Nothing more is read from the source. Bytes that a filter held, or sends last, must be delivered too.
    pub(super) fn end(&mut self, state: DirectionState, filter: &mut Filter) {
        self.state = state;
        let Some(installed) = filter else { return };
        let mut out = buffer::take();
        match self.to {
            Side::Server => installed.finish(&mut out),
            Side::Client if installed.demand() == FilterDemand::Close => {
                out.extend_from_slice(installed.farewell());
            }
            Side::Client => {}
        }
        // Who ends the connection may ask whether the answers are whole.
        let is_needed = installed.opaque_response() < u64::MAX
            || installed.demand() != FilterDemand::Read
            || installed.answer_progress() != AnswerProgress::Unknown;
        if self.to == Side::Server && !is_needed {
            *filter = None;
        }
        if out.is_empty() {
            buffer::give(out);
        } else {
            self.pending_write = Some(PendingWrite::of(out, 0));
        }
    }
}
