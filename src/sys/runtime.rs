//! The event loop of a thread.

use std::io;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use super::emulation;

/// How long an event loop waits at most on a system that needs such a limit.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// A runtime for the calling thread alone, with timers and input and output.
///
/// # Errors
/// No descriptor or memory is left for its event port.
pub fn current_thread() -> io::Result<Runtime> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    if emulation::is_one_shot() {
        // Over one-shot event ports tokio's event library (mio 1.2) does not wait at all, but looks at every descriptor
        // again and again, while no timer limits the wait.
        runtime.spawn(async {
            loop {
                tokio::time::sleep(LONGEST_WAIT).await;
            }
        });
    }
    Ok(runtime)
}
