//! Bytes that go before a stream.

/// Bytes, of which so many are dealt with.
#[derive(Debug, Default)]
pub(super) struct Part {
    bytes: Vec<u8>,
    done: usize,
}

impl Part {
    /// These bytes, of which none is dealt with.
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Part { bytes, done: 0 }
    }

    /// Those that are left.
    pub(super) fn rest(&self) -> &[u8] {
        self.bytes.get(self.done..).unwrap_or_default()
    }

    /// So many more are dealt with.
    pub(super) fn advance(&mut self, count: usize) {
        self.done += count;
    }
}

/// What a socket has beside its stream.
#[derive(Debug, Default)]
pub(super) struct Beside {
    /// Bytes that were read before whoever reads the stream came.
    pub(super) ahead: Part,
    /// Bytes that are to be sent before those of whoever writes the stream.
    pub(super) held: Part,
}

impl Beside {
    /// Whether all of it is dealt with.
    pub(super) fn is_done(&self) -> bool {
        self.ahead.rest().is_empty() && self.held.rest().is_empty()
    }
}
