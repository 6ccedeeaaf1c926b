//! Child processes that execute programs.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

static HAS_BEGUN: AtomicBool = AtomicBool::new(false);

/// To be called before a child process is made. Until it executes its program, it has all of pen's sockets open, also those that
/// pen closes meanwhile.
pub fn begins() {
    HAS_BEGUN.store(true, Relaxed);
}

/// Whether there may be a child that has not yet executed its program. False only as long as pen has made none; another thread may
/// see the first one a moment late.
pub fn may_be_there() -> bool {
    HAS_BEGUN.load(Relaxed)
}
