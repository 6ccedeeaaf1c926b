//! The event loop of a thread.

use std::io;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use super::{emulation, log, platform};

/// The maximum wait of an event loop, on systems that need a limit.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// A single-threaded runtime for the calling thread, with timers and I/O.
///
/// # Errors
/// There is no descriptor or memory for its event port.
pub fn current_thread() -> io::Result<Runtime> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    if emulation::is_one_shot() {
        // Over one-shot event ports, unless a timer limits the wait, tokio's event library (mio 1.2) does not wait but
        // polls every descriptor in a busy loop.
        runtime.spawn(async {
            loop {
                tokio::time::sleep(LONGEST_WAIT).await;
            }
        });
    }
    Ok(runtime)
}

/// Starts a thread with its own event loop. `begin` opens the thread's resources within it; `run` is the main function
/// of the thread.
///
/// # Errors
/// The system cannot create the thread or its event port; or the error of `begin`. The thread has ended then.
pub fn start_thread(
    name: String,
    begin: impl FnOnce() -> io::Result<()> + Send + 'static,
    run: impl FnOnce(Runtime) + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let runtime = current_thread()?;
    let (sender, outcome) = mpsc::channel();
    let thread = thread::Builder::new().name(name).spawn(move || {
        let begun = runtime.block_on(async { begin() });
        let runs = begun.is_ok();
        // The thread that starts this one waits for the result.
        _ = sender.send(begun);
        if runs {
            run(runtime);
        }
    })?;
    // A thread that ends without a result has panicked, and the panic was logged.
    outcome.recv().unwrap_or_else(|_| Err(io::Error::other("it ended at once")))?;
    Ok(thread)
}

/// Starts a thread for work that may block. Nobody waits for its end.
///
/// Tokio has threads for that, but it panics when the system refuses the first of them.
///
/// # Errors
/// The system cannot create the thread: `work` has not begun.
pub fn start_blocking(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name("blocking".into()).spawn(work).map(drop)
}

/// The result of work that may block, done on a thread of its own.
///
/// # Errors
/// As [`start_blocking`]; or, of the kind `Other`, the work has panicked, which was logged.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let (sender, result) = oneshot::channel();
    start_blocking(move || _ = sender.send(work()))?;
    result.await.map_err(|_| io::Error::other("internal error, see the log"))
}

/// Makes the calling thread yield to pen's other threads, on systems where threads have priorities of their own.
pub fn lower_priority() {
    if let Err(error) = platform::lower_priority() {
        log::debug(1, format_args!("lowering a thread's priority: {error}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_blocks_has_a_result_or_has_panicked() {
        let runtime = current_thread().expect("a runtime");
        runtime.block_on(async {
            assert_eq!(blocking(|| 7).await.expect("a thread"), 7);
            let panicked: io::Result<()> = blocking(|| panic!("on purpose")).await;
            assert_eq!(panicked.expect_err("it has no result").kind(), io::ErrorKind::Other);
        });
    }

    #[test]
    fn a_thread_that_cannot_begin_is_an_error() {
        let fails = || Err(io::Error::other("no room"));
        let failed = start_thread("fails".into(), fails, |_| unreachable!("it has not begun"));
        assert_eq!(failed.expect_err("it did not begin").to_string(), "no room");
        let thread = start_thread("runs".into(), || Ok(()), |runtime| runtime.block_on(async {}));
        thread.expect("it began").join().expect("it ran");
    }
}
