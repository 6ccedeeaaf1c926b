//! The pace of a thread that works for whoever watches pen: it leaves the processors to the threads that serve clients.

use std::time::{Duration, Instant};

use tokio::sync::{Mutex, mpsc};
use tokio::time::sleep_until;

use super::usage;

/// The time of work between two rests. It is shorter than a scheduler's time slice, so that a worker which becomes
/// ready in it hardly waits.
const BURST: Duration = Duration::from_micros(250);
/// How many times longer than the work the rest after it is when the other threads of pen are idle. After a burst, that is the resolution
/// of tokio's timer.
const REST: f64 = 4.0;
/// How many times longer it is in addition when they use all processors. In between, it grows with what they use. Where clients and
/// servers run on the same machine, pen uses half of it at most: the work then delays well below 1 % of the requests, so
/// that the 99th percentile of their times does not show it.
const REST_WHEN_BUSY: f64 = 200.0;
/// The same for what has to be there in time although all processors are used: metrics, which a collector waits for no
/// longer than ten seconds. A hundred milliseconds of work become one second at most.
const SCRAPE_REST: f64 = 1.0;
const SCRAPE_REST_WHEN_BUSY: f64 = 8.0;
/// The longest rest: work of many milliseconds in one piece does not delay the next request for a second.
const REST_MAX: Duration = Duration::from_millis(100);
/// The time over which the use of processors is measured. In a much shorter one the system's accounting is not exact.
const WINDOW: Duration = Duration::from_millis(10);

/// The pace of one thread, for all its tasks together.
#[derive(Debug)]
pub struct Pace {
    /// Taken in order of arrival, so that each task gets its turn.
    turn: Mutex<Turn>,
    processors: f64,
    rests: Rests,
}

/// How many times longer than the work its rests are.
#[derive(Debug, Clone, Copy)]
struct Rests {
    /// When the other threads of pen are idle.
    least: f64,
    /// In addition when they use all processors.
    when_busy: f64,
}

const DOCUMENT_RESTS: Rests = Rests { least: REST, when_busy: REST_WHEN_BUSY };
const SCRAPE_RESTS: Rests = Rests { least: SCRAPE_REST, when_busy: SCRAPE_REST_WHEN_BUSY };

#[derive(Debug)]
struct Turn {
    /// Work since the last rest.
    worked: Duration,
    rest_until: Instant,
    window: UsageWindow,
    /// How many times longer than the work the next rest is.
    rest: f64,
}

/// What is measured over a window.
#[derive(Debug)]
struct UsageWindow {
    begin: Instant,
    /// The processor time of the process at the beginning.
    used: Duration,
    /// The work of this thread since then.
    worked: Duration,
}

impl UsageWindow {
    fn begin(now: Instant) -> Self {
        UsageWindow { begin: now, used: usage::cpu_time().unwrap_or_default(), worked: Duration::ZERO }
    }
}

impl Default for Pace {
    fn default() -> Self {
        Pace::new(DOCUMENT_RESTS)
    }
}

impl Pace {
    /// The pace for metrics.
    pub fn of_scrapes() -> Self {
        Pace::new(SCRAPE_RESTS)
    }

    fn new(rests: Rests) -> Self {
        let now = Instant::now();
        let turn = Turn {
            worked: Duration::ZERO,
            rest_until: now,
            window: UsageWindow::begin(now),
            rest: rests.least,
        };
        let processors = std::thread::available_parallelism().map_or(1.0, |count| count.get() as f64);
        Pace { turn: Mutex::new(turn), processors, rests }
    }

    /// Makes the pieces of a text one by one, as long as the receiver takes them. `None` follows the last: a receiver whose
    /// channel closes without it has only a part of the text.
    pub async fn send_all(&self, mut pieces: impl Iterator<Item = String>, to: mpsc::Sender<Option<String>>) {
        loop {
            // Whoever has gone leaves the queue at once.
            let piece = tokio::select! {
                biased;
                () = to.closed() => return,
                piece = self.step(|| pieces.next()) => piece,
            };
            let is_last = piece.is_none();
            if to.send(piece).await.is_err() || is_last {
                return;
            }
            // The receiver may be ready at once; other tasks run in between all the same.
            tokio::task::yield_now().await;
        }
    }

    /// Runs a step of work once it is its turn and no rest is due.
    async fn step<T>(&self, step: impl FnOnce() -> T) -> T {
        let mut turn = self.turn.lock().await;
        if turn.rest_until > Instant::now() {
            sleep_until(turn.rest_until.into()).await;
        }
        let begin = Instant::now();
        let result = step();
        turn.add(begin, Instant::now(), self.processors, self.rests);
        result
    }
}

impl Turn {
    /// Counts work from `begin` to `now`, and sets the next rest.
    fn add(&mut self, begin: Instant, now: Instant, processors: f64, rests: Rests) {
        let worked = now - begin;
        self.worked += worked;
        self.window.worked += worked;
        let passed = now - self.window.begin;
        if passed >= WINDOW {
            let next = UsageWindow::begin(now);
            let others = next.used.saturating_sub(self.window.used).saturating_sub(self.window.worked);
            self.rest = rests.of(others, passed, processors);
            self.window = next;
        }
        if self.worked >= BURST {
            self.rest_until = now + self.worked.mul_f64(self.rest).min(REST_MAX);
            self.worked = Duration::ZERO;
        }
    }
}

impl Rests {
    /// How many times longer than the work a rest is if the other threads of pen used so much processor time.
    fn of(self, others: Duration, passed: Duration, processors: f64) -> f64 {
        let share = others.as_secs_f64() / (passed.as_secs_f64() * processors);
        self.least + self.when_busy * share.min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(now: Instant) -> Turn {
        Turn { worked: Duration::ZERO, rest_until: now, window: UsageWindow::begin(now), rest: REST }
    }

    #[test]
    fn rests_grow_with_what_the_other_threads_use() {
        let second = Duration::from_secs(1);
        let rests = [0, 500, 1000, 9000].map(|ms| DOCUMENT_RESTS.of(Duration::from_millis(ms), second, 2.0));
        assert_eq!(rests, [4.0, 54.0, 104.0, 204.0]);
        assert_eq!(SCRAPE_RESTS.of(9 * second, second, 2.0), 9.0);
    }

    #[test]
    fn long_work_rests_and_short_work_does_not() {
        let now = Instant::now();
        let mut turn = turn(now);
        turn.add(now, now + BURST / 2, 1.0, DOCUMENT_RESTS);
        assert_eq!(turn.rest_until, now);
        turn.add(now, now + BURST / 2, 1.0, DOCUMENT_RESTS);
        assert_eq!(turn.rest_until, now + BURST / 2 + BURST * 4);
        turn.add(now, now + Duration::from_secs(1), 1.0, DOCUMENT_RESTS);
        assert_eq!(turn.rest_until, now + Duration::from_secs(1) + REST_MAX);
    }

    #[test]
    fn a_busy_thread_beside_it_makes_rests_longer() {
        let begin = Instant::now();
        let mut turn = turn(begin);
        // A process of its own for each test: nothing else runs.
        let busy = std::thread::spawn(move || {
            while begin.elapsed() < 3 * WINDOW {
                std::hint::spin_loop();
            }
        });
        busy.join().unwrap();
        let now = Instant::now();
        turn.add(now, now, 1.0, DOCUMENT_RESTS);
        assert!(turn.rest > REST, "{turn:?}");
    }

    #[tokio::test]
    async fn what_nobody_takes_any_more_waits_for_no_turn() {
        let pace = Pace::default();
        let _turn = pace.turn.lock().await;
        let (sender, receiver) = mpsc::channel(1);
        drop(receiver);
        pace.send_all(std::iter::once_with(|| unreachable!("nobody takes it")), sender).await;
    }

    #[tokio::test]
    async fn several_tasks_share_the_pace_and_each_gets_its_turn() {
        let pace = std::sync::Arc::new(Pace::default());
        let begin = Instant::now();
        let mut receivers = Vec::new();
        for _ in 0..3 {
            let (sender, receiver) = mpsc::channel(1);
            let pace = std::sync::Arc::clone(&pace);
            let pieces = (0..4).map(|_| {
                let begin = Instant::now();
                while begin.elapsed() < BURST {
                    std::hint::spin_loop();
                }
                String::new()
            });
            tokio::spawn(async move { pace.send_all(pieces, sender).await });
            receivers.push(receiver);
        }
        // They advance together: nobody is one piece ahead of what the channel holds.
        for _ in 0..4 {
            for receiver in &mut receivers {
                assert_eq!(receiver.recv().await, Some(Some(String::new())));
            }
        }
        for receiver in &mut receivers {
            assert_eq!(receiver.recv().await, Some(None));
        }
        assert!(begin.elapsed() >= BURST.mul_f64(REST) * 11, "{:?}", begin.elapsed());
    }
}
