//! One direction of a relay: from a source to a destination, in order, holding no more than one read.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use super::buffer::{self, Rest};
use super::hooks::{Inspect, Meter, Verdict};
use super::relay::Side;
use super::stream::Stream;

/// Reads of one direction before other connections of the worker get their turn.
const BURST: u32 = 16;

/// How far a direction has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
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
pub(crate) struct Turn<'a, 'w, M> {
    pub(crate) cx: &'a mut Context<'w>,
    pub(crate) meter: &'a M,
    pub(crate) inspect: &'a mut Option<Box<dyn Inspect + Send>>,
    /// Read nothing more: end after what was read.
    pub(crate) stop: bool,
    /// Writing to the source has failed with a reset: its end is no clean one, whatever read(2) says.
    pub(crate) distrust: bool,
}

/// One direction.
#[derive(Debug)]
pub(crate) struct Flow {
    rest: Option<Rest>,
    moved: u64,
    to: Side,
    state: State,
    /// The source itself has ended (not only the relay, by fastclose).
    eof: bool,
    /// The destination was reset, rather than closed for reading.
    reset: bool,
}

enum Step {
    Moved,
    End,
    ReadFailed(io::Error),
    WriteFailed(io::Error),
}

impl Flow {
    pub(crate) fn to(side: Side) -> Self {
        Self { rest: None, moved: 0, to: side, state: State::Open, eof: false, reset: false }
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// Bytes delivered so far.
    pub(crate) fn moved(&self) -> u64 {
        self.moved
    }

    /// Bytes read and not yet delivered.
    pub(crate) fn pending(&self) -> usize {
        self.rest.as_ref().map_or(0, |rest| rest.bytes().len())
    }

    /// Whether the source has ended cleanly.
    pub(crate) fn eof(&self) -> bool {
        self.eof
    }

    /// Whether the destination is known to have been reset.
    pub(crate) fn was_reset(&self) -> bool {
        self.reset
    }

    /// Moves what can be moved; the waker is registered for what cannot. Gives the side and the error that the
    /// direction met in this call.
    pub(crate) fn poll<M: Meter>(
        &mut self,
        with: &mut Turn<'_, '_, M>,
        source: &mut Stream,
        destination: &mut Stream,
    ) -> Option<(Side, io::Error)> {
        let mut fault = None;
        for _ in 0..BURST {
            match self.poll_deliver(with, destination) {
                Poll::Pending => return fault,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(e)) => return self.die(e),
            }
            match self.state {
                State::Open if with.stop => {
                    self.end(State::Ended, with.inspect);
                    continue;
                }
                State::Open => {}
                State::Ended => match destination.poll_shutdown(with.cx) {
                    Poll::Pending => return fault,
                    Poll::Ready(Ok(())) => {
                        self.state = State::Shut;
                        return fault;
                    }
                    Poll::Ready(Err(e)) => return self.die(e),
                },
                State::Failed | State::Shut | State::Dead => return fault,
            }
            match self.poll_copy(with, source, destination) {
                Poll::Pending => return fault,
                Poll::Ready(Step::Moved) => {}
                Poll::Ready(Step::End) if with.distrust => self.end(State::Failed, with.inspect),
                Poll::Ready(Step::End) => {
                    self.eof = true;
                    self.end(State::Ended, with.inspect);
                }
                Poll::Ready(Step::ReadFailed(e)) => {
                    fault = Some((self.to.other(), e));
                    self.end(State::Failed, with.inspect);
                }
                Poll::Ready(Step::WriteFailed(e)) => return self.die(e),
            }
        }
        // Polled once, it wakes this task after the others and the driver had their turn.
        let _ = pin!(tokio::task::yield_now()).poll(with.cx);
        fault
    }

    /// One read, and at once the write of what it gave; only what the destination does not take is kept.
    fn poll_copy<M: Meter>(
        &mut self,
        with: &mut Turn<'_, '_, M>,
        source: &mut Stream,
        destination: &mut Stream,
    ) -> Poll<Step> {
        buffer::with_read_buffer(|buffer| {
            let inspector = if self.to == Side::Server { with.inspect.as_mut() } else { None };
            let most = inspector.as_ref().map_or(buffer.len(), |i| i.max_read().clamp(1, buffer.len()));
            let chunk = match ready!(source.poll_read(with.cx, &mut buffer[..most])) {
                Ok(0) => return Poll::Ready(Step::End),
                Ok(n) => &buffer[..n],
                Err(e) => return Poll::Ready(Step::ReadFailed(e)),
            };
            let Some(inspector) = inspector else {
                if let Some(i) = with.inspect.as_mut().filter(|i| i.wants_response()) {
                    i.response(chunk);
                }
                return Poll::Ready(match self.write(with, destination, chunk) {
                    Ok(written) => {
                        if written < chunk.len() {
                            self.rest = Some(Rest::copy_of(&chunk[written..]));
                        }
                        Step::Moved
                    }
                    Err(e) => Step::WriteFailed(e),
                });
            };
            let mut out = buffer::take();
            let verdict = inspector.request(chunk, &mut out);
            let bytes = if verdict == Verdict::Pass { chunk } else { out.as_slice() };
            let step = match self.write(with, destination, bytes) {
                Ok(written) if written == bytes.len() => Step::Moved,
                Ok(written) => {
                    self.rest = Some(if verdict == Verdict::Pass {
                        Rest::copy_of(&chunk[written..])
                    } else {
                        Rest::of(std::mem::take(&mut out), written)
                    });
                    Step::Moved
                }
                Err(e) => Step::WriteFailed(e),
            };
            buffer::give(out);
            if verdict == Verdict::Last {
                *with.inspect = None;
            }
            Poll::Ready(step)
        })
    }

    /// Writes until all is written or the destination takes no more for now; gives the number written.
    fn write<M: Meter>(
        &mut self,
        with: &mut Turn<'_, '_, M>,
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
    fn poll_deliver<M: Meter>(
        &mut self,
        with: &mut Turn<'_, '_, M>,
        destination: &mut Stream,
    ) -> Poll<io::Result<()>> {
        let Some(mut rest) = self.rest.take() else { return Poll::Ready(Ok(())) };
        let written = self.write(with, destination, rest.bytes())?;
        rest.advance(written);
        if rest.bytes().is_empty() {
            return Poll::Ready(Ok(()));
        }
        self.rest = Some(rest);
        Poll::Pending
    }

    fn count<M: Meter>(&mut self, meter: &M, bytes: usize) {
        self.moved += bytes as u64;
        match self.to {
            Side::Client => meter.to_client(bytes),
            Side::Server => meter.to_server(bytes),
        }
    }

    /// No more is read from the source. What an inspector held back is to be delivered too.
    fn end(&mut self, state: State, inspect: &mut Option<Box<dyn Inspect + Send>>) {
        self.state = state;
        if self.to == Side::Server
            && let Some(mut inspector) = inspect.take()
        {
            let mut out = buffer::take();
            inspector.finish(&mut out);
            if out.is_empty() {
                buffer::give(out);
            } else {
                self.rest = Some(Rest::of(out, 0));
            }
        }
    }

    /// The destination takes no more: what is left for it is lost.
    fn die(&mut self, error: io::Error) -> Option<(Side, io::Error)> {
        self.rest = None;
        self.state = State::Dead;
        // EPIPE comes after the peer's FIN, so its own bytes end properly. Any other error has used up the news of
        // a reset: read(2) gives what came before it and then 0 (tcp(7)), which must not pass for a clean end.
        self.reset = error.kind() != io::ErrorKind::BrokenPipe;
        Some((self.to, error))
    }
}
