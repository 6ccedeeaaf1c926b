//! Response bodies in pieces, each made while the client reads the one before.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame};
use tokio::sync::mpsc;

use crate::core::report::pieces::Pieces;
use crate::sys::pace::Pace;

use super::progress::ConnectionProgress;

/// The body of a response.
pub(super) struct ResponseBody {
    source: BodySource,
    progress: ConnectionProgress,
}

enum BodySource {
    /// A text that is there, if it has not been read.
    Ready(Option<String>),
    /// Pieces that a task makes.
    Made(mpsc::Receiver<Option<String>>),
}

impl ResponseBody {
    /// A body of these pieces, which a task makes at this pace; each piece that is read counts as a step of `progress`.
    pub(super) fn new(pieces: Pieces, pace: &Arc<Pace>, progress: ConnectionProgress) -> Self {
        let (sender, receiver) = mpsc::channel(1);
        let pace = Arc::clone(pace);
        tokio::spawn(async move { pace.send_all(pieces, sender).await });
        ResponseBody { source: BodySource::Made(receiver), progress }
    }

    /// A body of a text that has been made, which waits for no other response.
    pub(super) fn ready(text: String, progress: ConnectionProgress) -> Self {
        ResponseBody { source: BodySource::Ready(Some(text)), progress }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let ResponseBody { source, progress } = &mut *self;
        loop {
            let piece = match source {
                BodySource::Ready(text) => Some(text.take()),
                BodySource::Made(pieces) => match pieces.poll_recv(cx) {
                    Poll::Ready(piece) => piece,
                    Poll::Pending => {
                        // Not the client is slow, but pen.
                        progress.works();
                        return Poll::Pending;
                    }
                },
            };
            progress.step();
            match piece {
                // The search for the next rows goes on.
                Some(Some(piece)) if piece.is_empty() => {}
                Some(Some(piece)) => return Poll::Ready(Some(Ok(Frame::data(piece.into())))),
                Some(None) => return Poll::Ready(None),
                // A panic has been logged.
                None => {
                    let error = io::Error::other("the rest of the response could not be made");
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }
}
