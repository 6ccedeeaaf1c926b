//! Which worker a thread is.

use std::cell::Cell;

thread_local! {
    static WORKER: Cell<usize> = const { Cell::new(0) };
}

/// Says which worker this thread is, so that it gets its own contexts.
pub fn this_is_worker(number: usize) {
    WORKER.set(number);
}

/// Its number.
pub(in crate::net) fn worker() -> usize {
    WORKER.get()
}
