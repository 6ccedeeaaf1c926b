//! The end of an idle connection.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// The idle timeout. A message only records the time, be it carried by the task or by a lane; when the timer fires, it is set again
/// for the time remaining.
pub(super) struct Idle {
    pub(super) period: Duration,
    last: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Idle {
    pub(super) fn new(period: Duration) -> Self {
        Self { period, last: Instant::now(), timer: Box::pin(sleep(period)) }
    }

    /// A lane has carried something at that time.
    pub(super) fn note(&mut self, time: std::time::Instant) {
        self.last = self.last.max(Instant::from_std(time));
    }

    /// Ready when nothing has moved for the period; `active` says whether something has just now. It may be asked again then.
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
