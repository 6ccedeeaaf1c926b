//! Detects clients that give up before they have a server.

use std::pin::{Pin, pin};
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::core::Millis;
use crate::core::backend::ConnectPermits;

use super::addresses::Seeker;
use super::failure::Failure;
use super::shortage::ShortagePosition;

/// How long pen continues to connect for a client that has closed its direction without sending anything, as long as no other
/// client waits for one of the same permits, for a descriptor, or in the queue. Such a client may be waiting for a server that speaks first, as `nc HOST PORT </dev/null`
/// does; it cannot be distinguished from one that has gone. The time is enough to connect to a server that works, even if a
/// packet is lost.
const PATIENCE: Millis = 2_000;

/// What a client without a server waits for.
#[derive(Debug, Clone, Copy)]
pub(super) enum ClientWait<'a> {
    /// Its turn, in the queue or for a connect permit. A client that closes its direction meanwhile has given up.
    ForTurn,
    /// The result of a connect, for which it holds one of these permits.
    ForServer(&'a ConnectPermits),
}

impl Seeker<'_> {
    /// The outcome of `future`.
    ///
    /// # Errors
    /// The client gives up first.
    pub(super) fn during<'b, F: Future>(
        &'b self,
        wait: ClientWait<'b>,
        future: Pin<&'b mut F>,
    ) -> WhilePresent<'b, F> {
        WhilePresent { future, seeker: self, wait, gone: None }
    }

    /// The client waits for a descriptor from now on, if `failure` says that there is none. Other resources may be short for one
    /// server alone: a client that waits for them holds up nobody.
    pub(super) fn wait_for_descriptor(&self, failure: &Failure) -> Option<ShortagePosition<'_>> {
        let is_descriptor = matches!(failure.error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE));
        is_descriptor.then(|| {
            let position = self.shared.shortage.join(&self.is_short);
            // Clients that have closed their direction make room for this one.
            self.shared.waits.notify_waiters();
            position
        })
    }

    /// Whether another client waits for a descriptor.
    pub(super) fn others_are_short(&self) -> bool {
        self.shared.shortage.waiting() > usize::from(self.is_short.load(Relaxed))
    }

    async fn gone(&self, wait: ClientWait<'_>) {
        self.caller.stream.abandoned(self.patience(wait)).await;
    }

    /// Completes when pen no longer continues for a client that has closed its direction: after [`PATIENCE`], or when another
    /// client waits.
    async fn patience(&self, wait: ClientWait<'_>) {
        let ClientWait::ForServer(permits) = wait else { return };
        let shared = self.shared;
        let end = self.ended.get_or_init(|| shared.now()) + PATIENCE;
        let wanted = async {
            loop {
                let mut waits = pin!(shared.waits.notified());
                // Before the check, so that a client that begins to wait meanwhile is not missed.
                waits.as_mut().enable();
                if permits.has_waiters() || shared.queue.waiting() > 0 || self.others_are_short() {
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

/// Returns the output of a future, or an error if the client gives up first.
pub(super) struct WhilePresent<'a, F> {
    future: Pin<&'a mut F>,
    seeker: &'a Seeker<'a>,
    wait: ClientWait<'a>,
    /// Boxed: it is large, and most connections have no need of it for long.
    gone: Option<Pin<Box<dyn Future<Output = ()> + Send + 'a>>>,
}

impl<F: Future> Future for WhilePresent<'_, F> {
    type Output = Result<F::Output, Failure>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        // A connect to a near server often succeeds at once: then watching the client costs nothing.
        if let Poll::Ready(found) = this.future.as_mut().poll(cx) {
            return Poll::Ready(Ok(found));
        }
        let (seeker, wait) = (this.seeker, this.wait);
        if this.gone.is_none() && matches!(wait, ClientWait::ForTurn) {
            // Clients that hold a permit and have closed their direction release it for this one.
            seeker.shared.waits.notify_waiters();
        }
        let gone = this.gone.get_or_insert_with(|| Box::pin(seeker.gone(wait)));
        gone.as_mut().poll(cx).map(|()| Err(Failure::client_gone()))
    }
}
