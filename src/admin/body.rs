//! Response bodies in pieces, each made when the client has read the one before.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame};

use crate::core::report::pieces::Pieces;

use super::progress::Progress;

/// The body of a response.
pub(super) struct Answer {
    pieces: Pieces,
    progress: Progress,
}

impl Answer {
    /// A body of these pieces; each piece that is read counts as a step of `progress`.
    pub(super) fn new(pieces: Pieces, progress: Progress) -> Self {
        Answer { pieces, progress }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(piece) = self.pieces.next() else { return Poll::Ready(None) };
        self.progress.step();
        if piece.is_empty() {
            // The search for the next rows continues after other tasks have run.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Ok(Frame::data(piece.into()))))
    }
}
