//! Replies of any length: the beginning is made at once, the rest by a thread of lower priority, so that neither the
//! clients that pen serves nor its other tasks wait for it.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::core::report::pieces::Pieces;
use crate::sys::pace::Pace;
use crate::sys::{log, runtime};

/// How long pen works on a reply before it leaves the rest to the thread.
const BEGINNING: Duration = Duration::from_micros(250);

/// A reply for the thread, and where its pieces go: `None` after the last.
type Work = (Pieces, mpsc::Sender<Option<String>>);

/// The thread, which starts with the first reply that needs it and ends when this is dropped.
#[derive(Debug, Default)]
pub(super) struct LongReplies {
    thread: RefCell<Option<mpsc::UnboundedSender<Work>>>,
}

impl LongReplies {
    /// A reply of these pieces.
    pub(super) fn reply(&self, pieces: Pieces) -> LongReply<'_> {
        LongReply { thread: self, worked: Duration::ZERO, source: PieceSource::Inline(pieces) }
    }

    /// Gives the rest of a reply to the thread; gives it back when the system does not provide a thread.
    fn hand_over(&self, pieces: Pieces) -> Result<mpsc::Receiver<Option<String>>, Pieces> {
        let mut thread = self.thread.borrow_mut();
        if thread.as_ref().is_none_or(mpsc::UnboundedSender::is_closed) {
            *thread = match start() {
                Ok(sender) => Some(sender),
                Err(error) => {
                    log::debug(1, format_args!("no thread for long replies: {error}"));
                    return Err(pieces);
                }
            };
        }
        // The next piece is made while the client reads the one before.
        let (sender, receiver) = mpsc::channel(1);
        match thread.as_ref().map(|thread| thread.send((pieces, sender))) {
            Some(Err(mpsc::error::SendError((pieces, _)))) => Err(pieces),
            _ => Ok(receiver),
        }
    }
}

/// Starts the thread.
fn start() -> io::Result<mpsc::UnboundedSender<Work>> {
    let (sender, mut work) = mpsc::unbounded_channel();
    let run = move |runtime: tokio::runtime::Runtime| {
        runtime.block_on(async move {
            let pace = Arc::<Pace>::default();
            while let Some((pieces, to)) = work.recv().await {
                let pace = Arc::clone(&pace);
                tokio::spawn(async move { pace.send_all(pieces, to).await });
            }
        });
    };
    let begin = || {
        runtime::lower_priority();
        Ok(())
    };
    runtime::start_thread("replies".into(), begin, run)?;
    Ok(sender)
}

/// Where the remaining pieces are made.
enum PieceSource {
    /// By the task of the client.
    Inline(Pieces),
    /// By the thread, which sends them.
    Thread(mpsc::Receiver<Option<String>>),
}

/// A reply that is being made.
pub(super) struct LongReply<'a> {
    thread: &'a LongReplies,
    worked: Duration,
    source: PieceSource,
}

impl LongReply<'_> {
    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// The thread could not make it.
    pub(super) async fn next(&mut self) -> io::Result<Option<String>> {
        if self.worked >= BEGINNING
            && let PieceSource::Inline(pieces) = &mut self.source
        {
            let pieces = std::mem::replace(pieces, Box::new(std::iter::empty()));
            self.worked = Duration::ZERO;
            self.source = match self.thread.hand_over(pieces) {
                Ok(receiver) => PieceSource::Thread(receiver),
                Err(pieces) => PieceSource::Inline(pieces),
            };
        }
        match &mut self.source {
            PieceSource::Inline(pieces) => {
                let begin = Instant::now();
                let piece = pieces.next();
                self.worked += begin.elapsed();
                // Others are served in between.
                tokio::task::yield_now().await;
                Ok(piece)
            }
            PieceSource::Thread(receiver) => {
                // A panic has been logged.
                receiver
                    .recv()
                    .await
                    .ok_or_else(|| io::Error::other("the rest of the reply could not be made"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// A slow reply: the name of the thread that made each piece.
    fn names() -> Pieces {
        Box::new((0..5).map(|_| {
            let begin = Instant::now();
            while begin.elapsed() < BEGINNING {
                std::hint::spin_loop();
            }
            thread::current().name().unwrap_or_default().to_owned()
        }))
    }

    async fn all(mut reply: LongReply<'_>) -> Vec<String> {
        let mut pieces = Vec::new();
        while let Some(piece) = reply.next().await.unwrap() {
            pieces.push(piece);
        }
        pieces
    }

    #[tokio::test]
    async fn a_long_reply_is_made_by_a_thread_of_its_own_and_a_short_one_is_not() {
        let replies = LongReplies::default();
        let short = all(replies.reply(Box::new(["a", "b"].map(String::from).into_iter()))).await;
        assert_eq!(short, ["a", "b"]);
        assert!(replies.thread.borrow().is_none());
        for _ in 0..2 {
            let long = all(replies.reply(names())).await;
            assert_eq!(long.len(), 5);
            assert_ne!(long[0], "replies");
            assert_eq!(long[1..], ["replies"; 4]);
        }
    }
}
