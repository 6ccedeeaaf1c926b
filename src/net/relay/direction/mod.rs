//! One direction of a relay: from a source to a destination, in order, holding no more than one read.

mod fast_path;

use std::future::Future;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use super::Side;
use super::buffer::{self, PendingWrite, READ_SIZE};
use crate::net::filter::{FilterVerdict, StreamFilter, TrafficMeter};
use crate::net::stream::Stream;
use crate::sys::splice::{Pipe, Pool};

pub(crate) use fast_path::Carried;

/// Bytes of one direction before other connections of the worker get their turn; a read counts as [`READ_SIZE`] at
/// least.
const BURST: usize = 16 * READ_SIZE;

/// Full reads one after the other that make a direction a bulk one, worth a pipe.
const BULK: u32 = 2;

/// As [`BULK`], before asking again when there was no pipe.
const NO_PIPE: u32 = 64;

/// Bytes one after the other through a pipe that are worth one: two copies of fewer cost less.
const WORTH: u32 = 16 * 1024;

/// How often fewer than [`WORTH`] may come before the direction is no bulk one any more. A source that is slower than
/// pen for a moment is none that has ended its bulk.
const PATIENCE: u32 = 8;

/// How far a direction has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DirectionState {
    /// Bytes may follow.
    Open,
    /// The source has ended; what was read goes out, then the half close.
    Ended,
    /// The source broke off; what was read goes out, but no clean end may follow it.
    Failed,
    /// All is delivered, the half close too.
    Shut,
    /// The destination takes nothing more.
    Dead,
}

/// What a direction needs beside its two streams.
pub(crate) struct PollContext<'a, 'w, M> {
    pub(crate) cx: &'a mut Context<'w>,
    pub(crate) meter: &'a M,
    pub(crate) filter: &'a mut Option<Box<dyn StreamFilter + Send>>,
    pub(crate) pool: Option<&'a Pool>,
    /// Read nothing more: end after what was read.
    pub(crate) stop: bool,
    /// The other direction is done, so that closing the destination says what its half close would.
    pub(crate) last: bool,
    /// Writing to the source has failed with a reset: its end is no clean one, whatever read(2) says.
    pub(crate) distrust: bool,
}

/// One direction.
#[derive(Debug)]
pub(crate) struct Direction {
    pending_write: Option<PendingWrite>,
    /// There while the source has bulk for it; filled only when empty.
    pipe: Option<Pipe>,
    moved: u64,
    /// Full reads in a row, as bulk begins; how many of them ask for a pipe, 0 for never.
    full: u32,
    bulk: u32,
    /// Bytes that went through the pipe since it was taken.
    spliced: u32,
    to: Side,
    state: DirectionState,
    /// The source itself has ended (not only the relay, by fastclose).
    eof: bool,
    /// The destination was reset, rather than closed for reading.
    reset: bool,
    /// The source, when it was asked last, had nothing and took the waker.
    waits: bool,
}

/// The side whose socket had an error, and the error.
pub(crate) type Fault = (Side, io::Error);

/// What a source, or in passing it on a destination, gave.
pub(crate) enum Step {
    /// So many bytes were read.
    Moved(usize),
    End,
    ReadFailed(io::Error),
    WriteFailed(io::Error),
}

impl Direction {
    /// A direction towards `side`, which may use splice or not.
    pub(crate) fn to(side: Side, splice: bool) -> Self {
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
            waits: false,
        }
    }

    /// The waker is another one than before.
    pub(crate) fn forget_waker(&mut self) {
        self.waits = false;
    }

    pub(crate) fn state(&self) -> DirectionState {
        self.state
    }

    /// Bytes delivered so far.
    pub(crate) fn moved(&self) -> u64 {
        self.moved
    }

    /// Bytes read and not yet delivered.
    pub(crate) fn pending(&self) -> usize {
        self.pending_write.as_ref().map_or(0, |pending_write| pending_write.bytes().len())
            + self.pipe.as_ref().map_or(0, Pipe::len)
    }

    /// Whether its source has ended and all of it is delivered: nothing more will happen here.
    pub(crate) fn done(&self) -> bool {
        self.state == DirectionState::Shut && self.eof
    }

    /// Whether the source has ended cleanly.
    pub(crate) fn eof(&self) -> bool {
        self.eof
    }

    /// Whether the destination is known to have been reset.
    pub(crate) fn was_reset(&self) -> bool {
        self.reset
    }

    /// Moves what can be moved; the waker is registered for what cannot. `met` is what [`Direction::fast_path`] has met before. Gives
    /// the side and the error that the direction met in this call.
    pub(crate) fn poll<M: TrafficMeter>(
        &mut self,
        with: &mut PollContext<'_, '_, M>,
        source: &mut Stream,
        destination: &mut Stream,
        mut met: Option<Step>,
    ) -> Option<Fault> {
        if self.waits && !with.stop && !source.has_news() {
            // It was the other direction that woke the relay.
            return None;
        }
        self.waits = false;
        let mut fault = None;
        let mut left = BURST;
        while left > 0 {
            match self.poll_deliver(with, destination) {
                Poll::Pending => return fault,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(e)) => return Some(self.die(e)),
            }
            match self.state {
                DirectionState::Open if with.stop => {
                    self.end(DirectionState::Ended, with.filter);
                    continue;
                }
                DirectionState::Open => {}
                DirectionState::Ended if with.last && destination.closes_cleanly() => {
                    self.state = DirectionState::Shut;
                    return fault;
                }
                DirectionState::Ended => match destination.poll_shutdown(with.cx) {
                    Poll::Pending => return fault,
                    Poll::Ready(Ok(())) => {
                        self.state = DirectionState::Shut;
                        return fault;
                    }
                    Poll::Ready(Err(e)) => return Some(self.die(e)),
                },
                DirectionState::Failed | DirectionState::Shut | DirectionState::Dead => return fault,
            }
            let step = match (met.take(), self.may_splice(with)) {
                (Some(step), _) => Poll::Ready(step),
                (None, 0) => self.poll_copy(with, source, destination),
                (None, most) => self.poll_splice(with, source, most),
            };
            match step {
                Poll::Pending => {
                    self.waits = true;
                    return fault;
                }
                Poll::Ready(Step::Moved(bytes)) => {
                    // Most messages come alone, or with the end.
                    if bytes < READ_SIZE && self.pending() == 0 {
                        if source.poll_news(with.cx).is_pending() {
                            self.waits = true;
                            return fault;
                        }
                        met = source.is_at_end().then_some(Step::End);
                    }
                    left = left.saturating_sub(bytes.max(READ_SIZE));
                }
                Poll::Ready(Step::End) if with.distrust => self.end(DirectionState::Failed, with.filter),
                Poll::Ready(Step::End) => {
                    self.eof = true;
                    self.end(DirectionState::Ended, with.filter);
                }
                Poll::Ready(Step::ReadFailed(e)) => {
                    fault = Some((self.to.other(), e));
                    self.end(DirectionState::Failed, with.filter);
                }
                Poll::Ready(Step::WriteFailed(e)) => return Some(self.die(e)),
            }
        }
        // Polled once, it wakes this task after the others and the driver had their turn.
        let _ = pin!(tokio::task::yield_now()).poll(with.cx);
        fault
    }

    /// Whether it asks for a pipe.
    fn is_bulk(&self) -> bool {
        self.bulk != 0 && self.full >= self.bulk
    }

    /// The bytes that may go through a pipe now.
    fn may_splice<M>(&self, with: &PollContext<'_, '_, M>) -> usize {
        if !self.is_bulk() {
            return 0;
        }
        match (self.to, &*with.filter) {
            (_, None) => usize::MAX,
            (Side::Server, Some(filter)) => unseen(filter.as_ref()),
            (Side::Client, Some(filter)) => {
                if filter.wants_response() {
                    0
                } else {
                    usize::MAX
                }
            }
        }
    }

    /// Fills a pipe; [`Direction::poll_deliver`] empties it.
    fn poll_splice<M>(
        &mut self,
        with: &mut PollContext<'_, '_, M>,
        source: &Stream,
        most: usize,
    ) -> Poll<Step> {
        let pipe = match &mut self.pipe {
            Some(pipe) => pipe,
            none => match with.pool.and_then(Pool::take) {
                Some(pipe) => {
                    self.spliced = 0;
                    none.insert(pipe)
                }
                None => {
                    (self.full, self.bulk) = (0, NO_PIPE);
                    return Poll::Ready(Step::Moved(0));
                }
            },
        };
        match source.poll_fill(with.cx, pipe, most) {
            Poll::Pending => {
                self.pipe = None;
                if self.spliced >= WORTH {
                    self.full = self.bulk + PATIENCE;
                } else if self.full > self.bulk {
                    self.full -= 1;
                } else {
                    self.full = 0;
                }
                Poll::Pending
            }
            Poll::Ready(Ok(0)) => {
                // Urgent data looks like the end: a read tells.
                self.pipe = None;
                self.full = 0;
                Poll::Ready(Step::Moved(0))
            }
            Poll::Ready(Ok(n)) => {
                self.spliced = self.spliced.saturating_add(n as u32);
                if self.to == Side::Server
                    && let Some(filter) = with.filter
                {
                    filter.skip(n as u64);
                    if unseen(filter.as_ref()) == 0 {
                        self.full = 0;
                    }
                }
                Poll::Ready(Step::Moved(n))
            }
            Poll::Ready(Err(e)) => {
                self.pipe = None;
                if !cannot_splice(&e) {
                    return Poll::Ready(Step::ReadFailed(e));
                }
                self.bulk = 0;
                Poll::Ready(Step::Moved(0))
            }
        }
    }

    /// One read, and at once the write of what it gave; only what the destination does not take is kept.
    fn poll_copy<M: TrafficMeter>(
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

    /// Writes until all is written or the destination takes no more for now; gives the number written.
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

    /// Writes what is left over; ready when nothing is.
    fn poll_deliver<M: TrafficMeter>(
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

    /// Counts full reads in a row, which bulk begins with.
    fn note_read(&mut self, bytes: usize) {
        self.full = if bytes == READ_SIZE { self.full.saturating_add(1) } else { 0 };
    }

    fn count<M: TrafficMeter>(&mut self, meter: &M, bytes: usize) {
        self.moved += bytes as u64;
        match self.to {
            Side::Client => meter.to_client(bytes),
            Side::Server => meter.to_server(bytes),
        }
    }

    /// No more is read from the source. What a filter held back is to be delivered too.
    fn end(&mut self, state: DirectionState, filter: &mut Option<Box<dyn StreamFilter + Send>>) {
        self.state = state;
        if self.to == Side::Server
            && let Some(installed) = filter
        {
            let mut out = buffer::take();
            installed.finish(&mut out);
            if !installed.wants_response() {
                *filter = None;
            }
            if out.is_empty() {
                buffer::give(out);
            } else {
                self.pending_write = Some(PendingWrite::of(out, 0));
            }
        }
    }

    /// The destination takes no more: what is left for it is lost.
    fn die(&mut self, error: io::Error) -> Fault {
        self.pending_write = None;
        self.pipe = None;
        self.state = DirectionState::Dead;
        // EPIPE comes after the peer's FIN, so its own bytes end properly. Any other error has used up the news of
        // a reset: read(2) gives what came before it and then 0 (tcp(7)), which must not pass for a clean end.
        self.reset = error.kind() != io::ErrorKind::BrokenPipe;
        (self.to, error)
    }
}

/// How many of the client's next bytes may be passed on unseen: 0 where it is not worth it.
fn unseen(filter: &dyn StreamFilter) -> usize {
    match usize::try_from(filter.opaque()).unwrap_or(usize::MAX) {
        few if few < READ_SIZE => 0,
        many => many,
    }
}

/// The system does not splice this kind of socket (splice(2): EINVAL).
fn cannot_splice(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Waker;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    use super::*;
    use crate::net::socket::Socket;

    #[tokio::test]
    async fn bytes_in_a_pipe_survive_a_destination_that_does_not_splice() {
        let pool = Pool::new(1);
        let Some(mut pipe) = pool.take() else { return };
        let ((mut from, source), (sink, mut to)) = (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
        let [mut source, mut sink] = [source, sink]
            .map(|stream| Stream::from(Socket::unix(stream.into_std().unwrap().into()).unwrap()));
        let data: Vec<u8> = (0..150_000_u32).map(|i| (i >> 3) as u8).collect();
        from.write_all(&data).await.unwrap();
        while pipe.len() < data.len() {
            poll_fn(|cx| source.poll_fill(cx, &mut pipe, usize::MAX)).await.unwrap();
        }
        let mut flow = Direction::to(Side::Server, true);
        flow.pipe = Some(pipe);
        flow.bulk = 0; // As EINVAL sets it.
        drop(from);
        let mut got = Vec::new();
        let mut cx = Context::from_waker(Waker::noop());
        while flow.state() != DirectionState::Shut {
            let mut filter = None;
            let mut turn = PollContext {
                cx: &mut cx,
                meter: &(),
                filter: &mut filter,
                pool: None,
                stop: false,
                last: false,
                distrust: false,
            };
            assert!(flow.poll(&mut turn, &mut source, &mut sink, None).is_none());
            tokio::task::yield_now().await;
            let mut piece = vec![0; 10_000];
            if let Ok(n) = to.try_read(&mut piece) {
                got.extend_from_slice(&piece[..n]);
            }
        }
        to.read_to_end(&mut got).await.unwrap();
        assert!(got == data, "{} of {}", got.len(), data.len());
    }
}
