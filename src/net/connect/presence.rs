//! Whether a client that has no server yet is still there.

use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::core::Millis;
use crate::core::backend::Places;

use super::addresses::Seeker;
use super::failure::Failure;

/// How long pen spends on finding a server for a client that has closed its direction without sending anything, as long as
/// nobody waits for its place. It may wait for a server that speaks first, as `nc HOST PORT </dev/null` does, and cannot be
/// distinguished from one that has gone: the time suffices for a server that is there, and for a lost packet on the way.
const PATIENCE: Millis = 2_000;

/// What a client without a server has.
#[derive(Debug, Clone, Copy)]
pub(super) enum Has<'a> {
    /// Nothing: it waits for a place, in the queue or among the connects to a server. Whoever ends then has lost patience with
    /// the wait.
    Nothing,
    /// One of these places.
    PlaceOf(&'a Places),
}

impl Seeker<'_> {
    /// The outcome of `future`.
    ///
    /// # Errors
    /// The client gives up before.
    pub(super) fn during<'b, F: Future>(
        &'b self,
        has: Has<'b>,
        future: Pin<&'b mut F>,
    ) -> WhilePresent<'b, F> {
        WhilePresent { future, seeker: self, has, gone: None }
    }

    async fn gone(&self, has: Has<'_>) {
        self.caller.stream.abandoned(self.tolerated(has)).await;
    }

    /// Completes when a client that has ended has had its time.
    async fn tolerated(&self, has: Has<'_>) {
        let Has::PlaceOf(places) = has else { return };
        let shared = self.shared;
        let end = self.ended.get_or_init(|| shared.now()) + PATIENCE;
        let wanted = async {
            loop {
                let mut waits = pin!(shared.waits.notified());
                // Before the look, so that nobody who begins to wait is missed.
                waits.as_mut().enable();
                if places.are_wanted() || shared.queue.waiting() > 0 {
                    return;
                }
                waits.await;
            }
        };
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(end.saturating_sub(shared.now()))) => {}
            () = wanted => {}
        }
    }
}

/// The outcome of a future, unless the client gives up before: that it has is an error.
pub(super) struct WhilePresent<'a, F> {
    future: Pin<&'a mut F>,
    seeker: &'a Seeker<'a>,
    has: Has<'a>,
    /// Boxed: it is large, and most connections have no need of it for long.
    gone: Option<Pin<Box<dyn Future<Output = ()> + Send + 'a>>>,
}

impl<F: Future> Future for WhilePresent<'_, F> {
    type Output = Result<F::Output, Failure>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        // A server that is near is there before anything is spent on watching the client.
        if let Poll::Ready(found) = this.future.as_mut().poll(cx) {
            return Poll::Ready(Ok(found));
        }
        let (seeker, has) = (this.seeker, this.has);
        if this.gone.is_none() && matches!(has, Has::Nothing) {
            // Whoever has a place and has ended gives it up.
            seeker.shared.waits.notify_waiters();
        }
        let gone = this.gone.get_or_insert_with(|| Box::pin(seeker.gone(has)));
        gone.as_mut().poll(cx).map(|()| Err(Failure::client_gone()))
    }
}
