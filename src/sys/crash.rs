//! Ends that leave a trace: the core file that signal USR2 asks for, and a panic's last words.

use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{log, platform};

/// Ends pen with a core file, as far as the system allows one: raises the soft limit of core files to the hard one
/// and, on Linux, lifts the ban that changing the user puts on core files. Only now, not at start: until then nobody
/// else of that user can look into a process that holds keys. On Solaris coreadm(1M) decides for such a process.
pub fn abort_with_core() -> ! {
    let maximum = getrlimit(Resource::Core).maximum;
    // There is nobody left to tell when a step fails: the end comes either way.
    let _ = setrlimit(Resource::Core, Rlimit { current: maximum, maximum });
    platform::allow_core();
    std::process::abort()
}

/// Whether a panic is the end.
static ABORT: AtomicBool = AtomicBool::new(false);

/// Whether an internal error, rather than end one connection, is to end pen with a core file that shows it.
pub fn abort_on_panic(on: bool) {
    ABORT.store(on, Ordering::Relaxed);
}

/// Makes a panic go to pen's log like any other error: a daemon's standard error is nowhere.
pub fn log_panics() {
    panic::set_hook(Box::new(|info| {
        log::error(format_args!("internal error: {info}"));
        log::flush(Duration::from_secs(1));
        if ABORT.load(Ordering::Relaxed) {
            abort_with_core();
        }
    }));
}
