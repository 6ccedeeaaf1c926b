//! The end of a connection on which nothing moves.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// The idle timeout. A message only notes the time; when the timer fires, it is set anew to what is due by then.
pub(super) struct Idle {
    pub(super) period: Duration,
    last: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Idle {
    pub(super) fn new(period: Duration) -> Self {
        Self { period, last: Instant::now(), timer: Box::pin(sleep(period)) }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>, active: bool) -> Poll<()> {
        if active {
            self.last = Instant::now();
        }
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let due = self.last + self.period;
            if due <= Instant::now() {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(due);
        }
    }
}
