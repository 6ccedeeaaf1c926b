//! What the owner of a connection may see and change of the bytes that a relay moves.

/// Counts the bytes of one connection. Called on the worker's thread for every message: must not block.
pub trait Meter {
    /// `bytes` more were delivered to the client.
    fn to_client(&self, bytes: usize);
    /// `bytes` more were delivered to the server.
    fn to_server(&self, bytes: usize);
    /// Bytes read and not yet written, a direction each; called when they have changed, and with zeros at the end.
    fn pending(&self, to_server: usize, to_client: usize);
}

/// No counting.
impl Meter for () {
    fn to_client(&self, _: usize) {}
    fn to_server(&self, _: usize) {}
    fn pending(&self, _: usize, _: usize) {}
}

/// What [`Inspect::request`] made of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The chunk goes on as it is; `out` is not looked at.
    Pass,
    /// What is in `out` goes on instead, which may be nothing while the inspector waits for more.
    Replace,
    /// As `Replace`, and the inspector wants to see nothing more: it is dropped, [`Inspect::finish`] not called. An
    /// inspector that only wants to end gives the chunk back in `out`.
    Last,
}

/// Sees, and may rewrite, what the client sends (for HTTP header insertion, the request log). While one is there, the
/// client's direction is copied rather than spliced.
pub trait Inspect {
    /// The most bytes of one chunk; 0 counts as 1.
    fn max_read(&self) -> usize {
        usize::MAX
    }

    /// A chunk as it was read from the client. `out` is empty on entry.
    fn request(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Verdict;

    /// The client's stream has ended: puts what was held back into `out`, which is empty on entry.
    fn finish(&mut self, out: &mut Vec<u8>);

    /// Whether [`Inspect::response`] is to be called at present; while it is, the server's direction is not spliced.
    /// Asked again for every chunk.
    fn wants_response(&self) -> bool {
        false
    }

    /// A chunk that the server sent; it goes on unchanged.
    fn response(&mut self, _chunk: &[u8]) {}
}
