//! The bytes of a socket that are not in its stream.

/// Bytes of which the first part was processed.
#[derive(Debug, Default)]
pub(super) struct PendingBytes {
    bytes: Vec<u8>,
    done: usize,
}

impl PendingBytes {
    /// New bytes, none of them processed.
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        PendingBytes { bytes, done: 0 }
    }

    /// The remaining bytes.
    pub(super) fn remaining(&self) -> &[u8] {
        self.bytes.get(self.done..).unwrap_or_default()
    }

    /// Marks `count` more bytes as processed.
    pub(super) fn advance(&mut self, count: usize) {
        self.done += count;
    }
}

/// The bytes that precede those of the stream, in each direction.
#[derive(Debug, Default)]
pub(super) struct ExtraBytes {
    /// Bytes that were read early, and put back for the reader of the stream.
    pub(super) ahead: PendingBytes,
    /// Bytes that have to be sent before everything else that is written.
    pub(super) held: PendingBytes,
}

impl ExtraBytes {
    /// Whether no bytes remain in either direction.
    pub(super) fn is_done(&self) -> bool {
        self.ahead.remaining().is_empty() && self.held.remaining().is_empty()
    }
}
