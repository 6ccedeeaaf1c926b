//! Waiting for events: the only place in the tests that lets time pass.

use std::time::{Duration, Instant};

/// The time limit for any event on a busy machine; only a failing test waits this long.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Polls until there is an answer.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begin.elapsed() < DEADLINE, "waited in vain for: {what}");
        pause();
    }
}

/// Polls until the condition is true.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut ready: impl FnMut() -> bool) {
    wait_for(what, || ready().then_some(()));
}

#[allow(
    clippy::disallowed_methods,
    reason = "files, /proc and replies cannot be waited for, only asked again"
)]
pub(super) fn pause() {
    std::thread::sleep(Duration::from_millis(2));
}
