//! Core files, as signal USR2 requests them, and the log messages of panics.

use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{log, platform};

/// Whether pen may leave a core file, which reveals all of its memory.
static CORE: AtomicBool = AtomicBool::new(false);

/// Sets whether pen may leave a core file. If not, signals from other processes write none either, as far as a limit
/// can prevent it.
pub fn allow_core(on: bool) {
    CORE.store(on, Ordering::Relaxed);
    if !on {
        limit_core();
    }
}

/// Prevents core files altogether, and other processes of pen's user from reading its memory, since it contains keys.
/// On Solaris this already applies to a process that has changed its user, and coreadm(1M) decides.
pub fn hide_memory() {
    platform::set_dumpable(false);
}

/// Lowers only the soft limit, so that a later change of the configuration can raise it.
fn limit_core() {
    let maximum = getrlimit(Resource::Core).maximum;
    // Lowering a limit needs no privilege.
    _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum });
}

/// Ends pen with a core file where one is allowed, as far as the system permits it: raises the soft limit of core files
/// to the hard one and, on Linux, lifts the ban on core files that a change of user imposes. This is not done at start,
/// because until now no other process of that user could read the process's memory. On Solaris coreadm(1M) decides for
/// such a process.
pub fn abort() -> ! {
    if CORE.load(Ordering::Relaxed) {
        let maximum = getrlimit(Resource::Core).maximum;
        // A failure here does not matter: the process ends either way.
        _ = setrlimit(Resource::Core, Rlimit { current: maximum, maximum });
        platform::set_dumpable(true);
    } else {
        // On Linux the limit does not apply to a core_pattern that starts a program (core(5)).
        limit_core();
        hide_memory();
    }
    std::process::abort()
}

/// Whether a core file is allowed.
pub fn leaves_core() -> bool {
    CORE.load(Ordering::Relaxed)
}

/// Whether a panic ends pen.
static ABORT: AtomicBool = AtomicBool::new(false);

/// Sets whether an internal error ends pen with a core file instead of ending one connection.
pub fn abort_on_panic(on: bool) {
    ABORT.store(on, Ordering::Relaxed);
}

/// Logs panics in pen's log like other errors: nobody reads a daemon's standard error.
pub fn log_panics() {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(|place| format!("{place}: ")).unwrap_or_default();
        let payload = info.payload();
        let why = payload.downcast_ref::<&str>().copied();
        let why = why.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let why = why.unwrap_or("a panic without words");
        log::error(format_args!("internal error: {place}{why}"));
        log::flush(Duration::from_secs(1));
        if ABORT.load(Ordering::Relaxed) {
            abort();
        }
    }));
}
