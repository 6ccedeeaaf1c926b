//! Bulk data, moved through a pipe without being copied into pen's memory.

use std::io;
use std::task::Poll;

use super::state::{Direction, PollContext, TransferOutcome};
use crate::net::stream::Stream;
use crate::sys::splice::Pool;

/// The number of consecutive full reads before a pipe is requested again if there was none.
const NO_PIPE: u8 = 64;

/// The number of bytes from which a pipe is worth its cost: copying fewer is cheaper.
const WORTH: u32 = 16 * 1024;

/// How often fewer than [`WORTH`] bytes may come before the direction no longer counts as bulk. A source may be slower
/// than pen for a moment in the middle of bulk data.
const PATIENCE: u8 = 8;

impl Direction {
    /// How many bytes may go through a pipe now.
    pub(super) fn may_splice<M>(&self, with: &PollContext<'_, '_, M>) -> usize {
        if !self.is_bulk() {
            return 0;
        }
        self.unseen(with.filter)
    }

    /// Fills a pipe; [`Direction::poll_deliver`] empties it.
    pub(super) fn poll_splice<M>(
        &mut self,
        with: &mut PollContext<'_, '_, M>,
        source: &Stream,
        most: usize,
    ) -> Poll<TransferOutcome> {
        let pipe = match &mut self.pipe {
            Some(pipe) => pipe,
            none => match with.pool.and_then(Pool::take) {
                Some(pipe) => {
                    self.spliced = 0;
                    none.insert(Box::new(pipe))
                }
                None => {
                    (self.full, self.bulk) = (0, NO_PIPE);
                    return Poll::Ready(TransferOutcome::Moved(0));
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
                // Urgent data looks like the end of the stream: only a read can distinguish them.
                self.pipe = None;
                self.full = 0;
                Poll::Ready(TransferOutcome::Moved(0))
            }
            Poll::Ready(Ok(n)) => {
                self.spliced = self.spliced.saturating_add(n as u32);
                self.skip(n, with.filter);
                if self.unseen(with.filter) == 0 {
                    self.full = 0;
                }
                Poll::Ready(TransferOutcome::Moved(n))
            }
            Poll::Ready(Err(e)) => {
                self.pipe = None;
                if !cannot_splice(&e) {
                    return Poll::Ready(TransferOutcome::ReadFailed(e));
                }
                self.bulk = 0;
                Poll::Ready(TransferOutcome::Moved(0))
            }
        }
    }
}

/// Whether the system does not splice this kind of socket (splice(2): EINVAL).
pub(super) fn cannot_splice(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported)
}
