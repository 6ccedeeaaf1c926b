//! Response bodies in pieces, each made when the client has read the one before.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::body::{Body, Bytes, Frame};

use crate::core::report::pieces::Pieces;
use crate::sys::pace::Pace;

use super::progress::ConnectionProgress;

/// The body of a response.
pub(super) struct ResponseBody {
    pieces: Pieces,
    pace: Pace,
    progress: ConnectionProgress,
}

impl ResponseBody {
    /// A body of these pieces; each piece that is read counts as a step of `progress`.
    pub(super) fn new(pieces: Pieces, progress: ConnectionProgress) -> Self {
        ResponseBody { pieces, pace: Pace::default(), progress }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        ready!(self.pace.poll_rest(cx));
        let ResponseBody { pieces, pace, .. } = &mut *self;
        let Some(piece) = pace.step(|| pieces.next()) else { return Poll::Ready(None) };
        self.progress.step();
        if piece.is_empty() {
            // The search for the next rows continues after other tasks have run.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Ok(Frame::data(piece.into()))))
    }
}
