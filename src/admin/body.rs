//! Answers whose pieces are made when the client has taken those before.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame};

use crate::core::report::pieces::Pieces;

use super::progress::Progress;

/// The body of an answer.
pub(super) struct Answer {
    pieces: Pieces,
    progress: Progress,
}

impl Answer {
    /// These pieces; each that is taken is a step of `progress`.
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
            // The search for the next rows goes on after everybody else had a turn.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Ok(Frame::data(piece.into()))))
    }
}
