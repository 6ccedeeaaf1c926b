//! Yields the CPU to workers while a long reply is made for a monitoring client.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::time::{Sleep, sleep};

/// The time of work between two rests. It is shorter than a scheduler's time slice, so that a worker which becomes
/// ready in it hardly waits.
const BURST: Duration = Duration::from_micros(250);
/// The rest after a burst: the resolution of tokio's timer. A long reply uses at most a quarter of a CPU, and a short
/// one is not delayed.
const REST: Duration = Duration::from_millis(1);

/// The pace of a long piece of work that is done in steps.
#[derive(Debug, Default)]
pub struct Pace {
    worked: Duration,
    rest: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    /// Runs a step.
    pub fn step<T>(&mut self, step: impl FnOnce() -> T) -> T {
        let begin = Instant::now();
        let result = step();
        self.worked += begin.elapsed();
        result
    }

    /// Ready when the next step may run: at once unless a rest is due.
    pub fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.rest.is_none() && self.worked >= BURST {
            self.worked = Duration::ZERO;
            self.rest = Some(Box::pin(sleep(REST)));
        }
        if let Some(rest) = &mut self.rest {
            ready!(rest.as_mut().poll(cx));
            self.rest = None;
        }
        Poll::Ready(())
    }

    /// Rests if a rest is due; lets other tasks run in any case.
    pub async fn rest(&mut self) {
        tokio::task::yield_now().await;
        std::future::poll_fn(|cx| self.poll_rest(cx)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[tokio::test]
    async fn long_work_rests_and_short_work_does_not() {
        let mut pace = Pace::default();
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(pace.step(|| 7), 7);
        pace.worked = BURST / 2;
        assert!(pace.poll_rest(&mut cx).is_ready());
        let begin = Instant::now();
        for _ in 0..3 {
            pace.worked += BURST;
            assert!(pace.poll_rest(&mut cx).is_pending());
            pace.rest().await;
            assert!(pace.poll_rest(&mut cx).is_ready());
        }
        assert!(begin.elapsed() >= 3 * REST, "{:?}", begin.elapsed());
    }
}
