//! One direction of a relay: from a source to a destination, in order, holding at most one read.

mod copy;
mod fast_path;
mod filtered;
mod splice;
mod state;

use std::future::Future;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};

use super::buffer::READ_SIZE;
use crate::net::filter::{FilterDemand, TrafficMeter};
use crate::net::stream::Stream;
use crate::sys::error::is_shortage;

pub(super) use fast_path::FastPathOutcome;
pub(super) use state::{Direction, DirectionState, PollContext, SideError, TransferOutcome};

/// The number of bytes of one direction before other connections of the worker are served; a read counts as at least
/// [`READ_SIZE`].
const BURST: usize = 16 * READ_SIZE;

impl Direction {
    /// Moves all data that can be moved, and registers the waker for the rest. `first` is the step that
    /// [`Direction::fast_path`] has left. Returns the error of this call, with its side.
    pub(in crate::net::relay) fn poll<M: TrafficMeter>(
        &mut self,
        with: &mut PollContext<'_, '_, M>,
        source: &mut Stream,
        destination: &mut Stream,
        mut first: Option<TransferOutcome>,
    ) -> Option<SideError> {
        let demand = self.demand(with.filter);
        if self.awaits_source && !with.stop && demand == FilterDemand::Read && !source.may_be_readable() {
            // The relay was woken for the other direction.
            return None;
        }
        self.awaits_source = false;
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
                DirectionState::Open => match self.demand(with.filter) {
                    FilterDemand::Read => {}
                    FilterDemand::Wait | FilterDemand::Close => return fault,
                    FilterDemand::Resume => first = Some(self.resume(with, destination)),
                    FilterDemand::End => {
                        self.end(DirectionState::Ended, with.filter);
                        continue;
                    }
                },
                DirectionState::Ended if with.other_done && destination.closes_cleanly() => {
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
            let step = match (first.take(), self.may_splice(with)) {
                (Some(step), _) => Poll::Ready(step),
                (None, 0) => self.poll_copy(with, source, destination),
                (None, most) => self.poll_splice(with, source, most),
            };
            match step {
                Poll::Pending => return self.await_source(with.cx, destination).or(fault),
                Poll::Ready(TransferOutcome::Moved(bytes)) => {
                    // Most messages arrive singly, or together with the end of the stream.
                    if bytes < READ_SIZE && self.pending() == 0 {
                        if source.poll_readable(with.cx).is_pending() {
                            return self.await_source(with.cx, destination).or(fault);
                        }
                        first = source.is_at_end().then_some(TransferOutcome::End);
                    }
                    left = left.saturating_sub(bytes.max(READ_SIZE));
                }
                Poll::Ready(TransferOutcome::End) if with.source_was_reset => {
                    self.end(DirectionState::Failed, with.filter)
                }
                Poll::Ready(TransferOutcome::End) => {
                    self.eof = true;
                    self.end(DirectionState::Ended, with.filter);
                }
                Poll::Ready(TransferOutcome::ReadFailed(e)) => {
                    self.lacks_memory = is_shortage(&e);
                    fault = Some((self.to.other(), e));
                    self.end(DirectionState::Failed, with.filter);
                }
                Poll::Ready(TransferOutcome::WriteFailed(e)) => return Some(self.die(e)),
            }
        }
        // Polled once, it wakes this task after the other tasks and the I/O driver have run.
        let _ = pin!(tokio::task::yield_now()).poll(with.cx);
        fault
    }

    /// The source has nothing now, and holds the waker. What the destination is to get before the source's bytes goes without
    /// them, even if it is only that there is a connection: it may be the one that speaks first.
    fn await_source(&mut self, cx: &mut Context<'_>, destination: &mut Stream) -> Option<SideError> {
        self.awaits_source = true;
        if destination.has_held() {
            match destination.poll_send_held(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(e)) => return Some(self.die(e)),
                // Whatever wakes the relay, this is to be tried again.
                Poll::Pending => self.awaits_source = false,
            }
        } else if self.moved == 0 {
            destination.acknowledge();
        }
        None
    }

    /// The destination accepts no more data: its pending bytes are lost.
    pub(super) fn die(&mut self, error: io::Error) -> SideError {
        self.pending_write = None;
        self.pipe = None;
        self.state = DirectionState::Dead;
        self.lacks_memory = is_shortage(&error);
        // EPIPE follows the peer's FIN, so its own bytes end properly. Any other error was the system's only report of
        // a reset: read(2) then returns the bytes before it and 0 (tcp(7)), which must not be taken for a clean end.
        self.reset = error.kind() != io::ErrorKind::BrokenPipe;
        (self.to, error)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Waker;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    use super::*;
    use crate::net::relay::side::Side;
    use crate::net::socket::Socket;
    use crate::sys::splice::Pool;

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
        let mut direction = Direction::to(Side::Server, true);
        direction.pipe = Some(Box::new(pipe));
        direction.bulk = 0; // The state after EINVAL.
        drop(from);
        let mut got = Vec::new();
        let mut cx = Context::from_waker(Waker::noop());
        while direction.state() != DirectionState::Shut {
            let mut filter = None;
            let mut context = PollContext {
                cx: &mut cx,
                meter: &(),
                filter: &mut filter,
                pool: None,
                stop: false,
                other_done: false,
                source_was_reset: false,
            };
            assert!(direction.poll(&mut context, &mut source, &mut sink, None).is_none());
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
