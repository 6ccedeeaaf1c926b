//! The memory of the data path: one read buffer per worker, and a small store of buffers for bytes that a slow peer has
//! not accepted yet.
//!
//! A connection owns memory only while it has undelivered data, so an idle one costs only its sockets.

use std::cell::RefCell;
use std::io;

/// The size of a read, and of the worker's read buffer.
pub(crate) const READ_SIZE: usize = 64 * 1024;

/// The number of buffers that a worker keeps for the next slow peer: 4 MiB at most.
const SPARE: usize = 64;

/// A buffer that grew beyond this is freed rather than kept.
const KEEP: usize = 2 * READ_SIZE;

thread_local! {
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_SIZE].into_boxed_slice());
    static STORE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Runs `f` with the worker's read buffer. Must not be nested.
pub(crate) fn with_read_buffer<R>(f: impl FnOnce(&mut [u8]) -> R) -> R {
    READ.with_borrow_mut(|buffer| f(buffer))
}

/// An empty buffer from the store, or a new one.
pub(crate) fn take() -> Vec<u8> {
    STORE.with_borrow_mut(Vec::pop).unwrap_or_default()
}

/// Returns a buffer to the store; its contents are discarded.
pub(crate) fn give(mut buffer: Vec<u8>) {
    if buffer.capacity() == 0 || buffer.capacity() > KEEP {
        return;
    }
    // While a thread ends its store may already be gone: the memory is then freed.
    let _ = STORE.try_with(|store| {
        let mut store = store.borrow_mut();
        if store.len() < SPARE {
            buffer.clear();
            store.push(buffer);
        }
    });
}

/// Bytes that were read and are not yet written.
#[derive(Debug)]
pub(crate) struct PendingWrite(Box<Unwritten>);

/// Boxed: most connections have none, and each has room for two.
#[derive(Debug)]
struct Unwritten {
    data: Vec<u8>,
    written: usize,
}

impl PendingWrite {
    /// Copies `bytes` out of the read buffer.
    pub(crate) fn copy_of(bytes: &[u8]) -> Self {
        let mut data = take();
        data.reserve_exact(bytes.len());
        data.extend_from_slice(bytes);
        Self::of(data, 0)
    }

    /// Takes over `data`, of which the first `written` bytes are delivered.
    pub(crate) fn of(data: Vec<u8>, written: usize) -> Self {
        Self(Box::new(Unwritten { data, written }))
    }

    /// Reads into a new one with `read`, at most [`READ_SIZE`] bytes.
    pub(crate) fn read(read: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> io::Result<Self> {
        let mut pending = Self::of(take(), 0);
        let data = &mut pending.0.data;
        data.resize(READ_SIZE, 0);
        let count = read(data)?;
        data.truncate(count);
        Ok(pending)
    }

    /// The bytes still to be written.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.data.get(self.0.written..).unwrap_or_default()
    }

    /// The first `n` of [`PendingWrite::bytes`] are delivered.
    pub(crate) fn advance(&mut self, n: usize) {
        self.0.written += n;
    }
}

impl Drop for PendingWrite {
    fn drop(&mut self) {
        give(std::mem::take(&mut self.0.data));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back_and_the_store_is_bounded() {
        let pending: Vec<PendingWrite> =
            (0..SPARE + 10).map(|i| PendingWrite::copy_of(&[i as u8; 1000])).collect();
        drop(pending);
        assert_eq!(STORE.with_borrow(Vec::len), SPARE);
        assert!(take().is_empty(), "a stored buffer must come back empty");
        give(Vec::with_capacity(KEEP + 1));
        assert_eq!(STORE.with_borrow(Vec::len), SPARE - 1, "too large to keep");
    }

    #[test]
    fn what_is_written_is_pending_no_longer() {
        let mut pending = PendingWrite::copy_of(b"hello");
        pending.advance(2);
        assert_eq!(pending.bytes(), b"llo");
        pending.advance(3);
        assert!(pending.bytes().is_empty());
    }
}
