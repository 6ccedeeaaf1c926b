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
pub(super) fn worker() -> usize {
    WORKER.get()
}

/// What is this thread's, where each worker has its own; `None` if nobody has any.
pub(in crate::net) fn own<T>(all: &[T]) -> Option<&T> {
    all.get(worker() % all.len().max(1))
}
