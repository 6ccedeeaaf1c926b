//! The number of a thread's worker.

use std::cell::Cell;

thread_local! {
    static WORKER: Cell<usize> = const { Cell::new(0) };
}

/// Sets the worker number of this thread, so that it uses its own contexts.
pub fn this_is_worker(number: usize) {
    WORKER.set(number);
}

/// Its number.
pub(in crate::net) fn worker() -> usize {
    WORKER.get()
}
