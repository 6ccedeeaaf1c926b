//! Data that is copied: read into the worker's buffer and written at once.

use std::io;
use std::task::{Poll, ready};

use super::splice::cannot_splice;
use super::state::{Direction, PollContext, TransferOutcome};
use crate::net::filter::{FilterVerdict, TrafficMeter};
use crate::net::relay::buffer::{self, PendingWrite};
use crate::net::relay::side::Side;
use crate::net::stream::Stream;

impl Direction {
    /// One read, and at once the write of its result; only bytes that the destination does not accept are kept.
    pub(super) fn poll_copy<M: TrafficMeter>(
        &mut self,
        with: &mut PollContext<'_, '_, M>,
        source: &mut Stream,
        destination: &mut Stream,
    ) -> Poll<TransferOutcome> {
        self.pipe = None;
        buffer::with_read_buffer(|buffer| {
            let most = self.max_read(with.filter).min(buffer.len());
            let chunk = match ready!(source.poll_read(with.cx, &mut buffer[..most])) {
                Ok(0) => return Poll::Ready(TransferOutcome::End),
                Ok(n) => &buffer[..n],
                Err(e) => return Poll::Ready(TransferOutcome::ReadFailed(e)),
            };
            self.note_read(chunk.len());
            // A filter may keep some of the client's bytes.
            let sees_all = with.filter.is_none() || self.to == Side::Client;
            destination.set_last(sees_all && chunk.len() < most && source.is_at_end());
            let mut out = Vec::new();
            let verdict = self.show(chunk, with.filter, &mut out);
            Poll::Ready(match self.write_or_keep(with, destination, chunk, verdict, out) {
                Ok(()) => TransferOutcome::Moved(chunk.len()),
                Err(e) => TransferOutcome::WriteFailed(e),
            })
        })
    }

    /// Writes the (possibly rewritten) chunk, and keeps the bytes that the destination does not accept.
    pub(super) fn write_or_keep<M: TrafficMeter>(
        &mut self,
        with: &mut PollContext<'_, '_, M>,
        destination: &mut Stream,
        chunk: &[u8],
        verdict: FilterVerdict,
        out: Vec<u8>,
    ) -> io::Result<()> {
        let bytes = if verdict == FilterVerdict::Pass { chunk } else { out.as_slice() };
        let written = self.write(with, destination, bytes)?;
        if written == bytes.len() {
            buffer::give(out);
        } else if verdict == FilterVerdict::Pass {
            self.pending_write = Some(PendingWrite::copy_of(&chunk[written..]));
            buffer::give(out);
        } else {
            self.pending_write = Some(PendingWrite::of(out, written));
        }
        Ok(())
    }

    /// Writes until all is written or the destination accepts no more for now; returns the number of bytes written.
    fn write<M: TrafficMeter>(
        &mut self,
        with: &mut PollContext<'_, '_, M>,
        destination: &mut Stream,
        bytes: &[u8],
    ) -> io::Result<usize> {
        let mut written = 0;
        while written < bytes.len() {
            match destination.poll_write(with.cx, &bytes[written..]) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(n)) => {
                    written += n;
                    self.count(with.meter, n);
                }
                Poll::Ready(Err(e)) => return Err(e),
                Poll::Pending => break,
            }
        }
        Ok(written)
    }

    /// Writes the pending bytes; ready when there are none left.
    pub(super) fn poll_deliver<M: TrafficMeter>(
        &mut self,
        with: &mut PollContext<'_, '_, M>,
        destination: &mut Stream,
    ) -> Poll<io::Result<()>> {
        loop {
            if let Some(mut pending_write) = self.pending_write.take() {
                let written = self.write(with, destination, pending_write.bytes())?;
                pending_write.advance(written);
                if !pending_write.bytes().is_empty() {
                    self.pending_write = Some(pending_write);
                    return Poll::Pending;
                }
            }
            let Some(pipe) = self.pipe.as_mut().filter(|pipe| !pipe.is_empty()) else {
                return Poll::Ready(Ok(()));
            };
            if self.bulk == 0 {
                self.pending_write = Some(PendingWrite::read(|buffer| pipe.read(buffer))?);
                continue;
            }
            match ready!(destination.poll_drain(with.cx, pipe)) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(n) => self.count(with.meter, n),
                Err(e) if cannot_splice(&e) => self.bulk = 0,
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    }
}
