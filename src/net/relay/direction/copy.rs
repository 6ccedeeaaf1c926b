//! Data that is copied: read into the worker's buffer and written at once.

use std::io;
use std::task::{Poll, ready};

use super::splice::{cannot_splice, unseen};
use super::state::{Direction, PollContext, Step};
use crate::net::filter::{FilterVerdict, TrafficMeter};
use crate::net::relay::buffer::{self, PendingWrite};
use crate::net::relay::side::Side;
use crate::net::stream::Stream;

impl Direction {
    /// One read, and at once the write of what it returned; only what the destination does not take is kept.
    pub(super) fn poll_copy<M: TrafficMeter>(
        &mut self,
        with: &mut PollContext<'_, '_, M>,
        source: &mut Stream,
        destination: &mut Stream,
    ) -> Poll<Step> {
        self.pipe = None;
        buffer::with_read_buffer(|buffer| {
            let filter = if self.to == Side::Server { with.filter.as_mut() } else { None };
            let unseen = filter.as_ref().map_or(0, |i| unseen(i.as_ref()));
            let most = match &filter {
                Some(i) if unseen == 0 => i.max_read().clamp(1, buffer.len()),
                _ => buffer.len(),
            };
            let chunk = match ready!(source.poll_read(with.cx, &mut buffer[..most])) {
                Ok(0) => return Poll::Ready(Step::End),
                Ok(n) => &buffer[..n],
                Err(e) => return Poll::Ready(Step::ReadFailed(e)),
            };
            self.note_read(chunk.len());
            let mut out = Vec::new();
            let verdict = match filter {
                Some(filter) if unseen == 0 => {
                    out = buffer::take();
                    filter.request(chunk, &mut out)
                }
                Some(filter) => {
                    filter.skip(chunk.len() as u64);
                    FilterVerdict::Pass
                }
                None => {
                    if let Some(i) =
                        with.filter.as_mut().filter(|i| self.to == Side::Client && i.wants_response())
                    {
                        i.response(chunk);
                    }
                    FilterVerdict::Pass
                }
            };
            let bytes = if verdict == FilterVerdict::Pass { chunk } else { out.as_slice() };
            match self.write(with, destination, bytes) {
                Ok(written) if written == bytes.len() => {}
                Ok(written) if verdict == FilterVerdict::Pass => {
                    self.pending_write = Some(PendingWrite::copy_of(&chunk[written..]))
                }
                Ok(written) => self.pending_write = Some(PendingWrite::of(std::mem::take(&mut out), written)),
                Err(e) => return Poll::Ready(Step::WriteFailed(e)),
            }
            buffer::give(out);
            Poll::Ready(Step::Moved(chunk.len()))
        })
    }

    /// Writes until all is written or the destination takes no more for now; returns the number of bytes written.
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

    /// Writes what is pending; ready when nothing is.
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
