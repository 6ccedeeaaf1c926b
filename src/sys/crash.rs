//! Core files, which signal USR2 asks for, and the log messages of panics.

use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{log, platform};

/// Whether pen may leave a core file, which shows everything that it has in memory.
static CORE: AtomicBool = AtomicBool::new(false);

/// Says whether pen may leave a core file. Where not, no signal of others writes one either, as far as a limit prevents it.
pub fn allow_core(on: bool) {
    CORE.store(on, Ordering::Relaxed);
    if !on {
        limit_core();
    }
}

/// Keeps core files from being written at all, and others of pen's user from looking into it: it has keys in its memory. On
/// Solaris a process that has changed its user is such a one already, and coreadm(1M) decides.
pub fn hide_memory() {
    platform::set_dumpable(false);
}

/// The soft limit, so that a later change of the configuration can lift it.
fn limit_core() {
    let maximum = getrlimit(Resource::Core).maximum;
    // Lowering a limit needs no privilege.
    _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum });
}

/// Ends pen with a core file where one is allowed, as far as the system lets it: raises the soft limit of core files to the
/// hard one and, on Linux, lifts the ban that changing the user puts on core files. Only now, not at start: until then nobody
/// else of that user can look into the process. On Solaris coreadm(1M) decides for such a process.
pub fn abort() -> ! {
    if CORE.load(Ordering::Relaxed) {
        let maximum = getrlimit(Resource::Core).maximum;
        // A step that fails changes nothing: the process ends either way.
        _ = setrlimit(Resource::Core, Rlimit { current: maximum, maximum });
        platform::set_dumpable(true);
    } else {
        // On Linux the limit is not for a core_pattern that begins a program (core(5)).
        limit_core();
        hide_memory();
    }
    std::process::abort()
}

/// Whether there is to be a core file.
pub fn leaves_core() -> bool {
    CORE.load(Ordering::Relaxed)
}

/// Whether a panic is the end.
static ABORT: AtomicBool = AtomicBool::new(false);

/// Whether an internal error, rather than end one connection, is to end pen with a core file that shows it.
pub fn abort_on_panic(on: bool) {
    ABORT.store(on, Ordering::Relaxed);
}

/// Makes a panic go to pen's log like any other error: nobody reads a daemon's standard error.
pub fn log_panics() {
    panic::set_hook(Box::new(|info| {
        log::error(format_args!("internal error: {info}"));
        log::flush(Duration::from_secs(1));
        if ABORT.load(Ordering::Relaxed) {
            abort();
        }
    }));
}
