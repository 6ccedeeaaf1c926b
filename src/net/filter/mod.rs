//! Filters, which see and may change the bytes that a relay moves, and meters, which count them.

pub(super) mod chosen;
pub(super) mod dump;
pub(super) mod http;
pub(super) mod request_log;

use std::sync::Arc;

use crate::core::http::AnswerProgress;

/// Counts the bytes of one connection. Called on the worker's thread for every message: must not block.
pub trait TrafficMeter {
    /// `bytes` more were delivered to the client.
    fn to_client(&self, bytes: usize);
    /// `bytes` more were delivered to the server.
    fn to_server(&self, bytes: usize);
    /// Bytes read and not yet written, for each direction; called when they have changed, and with zeros at the end.
    fn pending(&self, to_server: usize, to_client: usize);
    /// Whether the task of the connection was asked to look at something before it passes on more.
    fn awaits_look(&self) -> bool {
        false
    }
}

/// A meter of which lanes have copies.
pub trait SharedMeter: TrafficMeter + Clone + Send + Sync + 'static {}

impl<M: TrafficMeter + Clone + Send + Sync + 'static> SharedMeter for M {}

/// No counting.
impl TrafficMeter for () {
    fn to_client(&self, _: usize) {}
    fn to_server(&self, _: usize) {}
    fn pending(&self, _: usize, _: usize) {}
}

impl<M: TrafficMeter + ?Sized> TrafficMeter for Arc<M> {
    fn to_client(&self, bytes: usize) {
        (**self).to_client(bytes);
    }

    fn to_server(&self, bytes: usize) {
        (**self).to_server(bytes);
    }

    fn awaits_look(&self) -> bool {
        (**self).awaits_look()
    }

    fn pending(&self, to_server: usize, to_client: usize) {
        (**self).pending(to_server, to_client);
    }
}

/// The result of [`StreamFilter::request`] for a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterVerdict {
    /// The chunk is passed on unchanged; `out` is ignored.
    Pass,
    /// `out` is passed on instead, which may be empty while the filter waits for more.
    Replace,
}

/// What a filter requires of the relay before more of the client is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterDemand {
    /// Nothing: read the client's next bytes.
    Read,
    /// Read nothing of the client until the server has sent something.
    Wait,
    /// Call [`StreamFilter::request`] with an empty chunk, to continue with held bytes.
    Resume,
    /// Treat the client's stream as ended.
    End,
    /// End the connection in both directions once the client has got [`StreamFilter::farewell`].
    Close,
}

/// Sees, and may rewrite, the data of the client (for HTTP header insertion, the request log). Data that it must see is
/// copied rather than spliced.
pub trait StreamFilter {
    /// The most bytes of one chunk; 0 counts as 1.
    fn max_read(&self) -> usize {
        usize::MAX
    }

    /// A chunk as it was read from the client. `out` is empty on entry.
    fn request(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> FilterVerdict;

    /// What it requires before more of the client is read.
    fn demand(&self) -> FilterDemand {
        FilterDemand::Read
    }

    /// The last bytes for the client when the [demand](Self::demand) is to close.
    fn farewell(&self) -> &'static [u8] {
        &[]
    }

    /// The client's stream has ended: puts held bytes into `out`, which is empty on entry. After that the filter is
    /// only called if it still wants to see the server's data or to close.
    fn finish(&mut self, out: &mut Vec<u8>);

    /// How many of the client's next bytes need not be seen; a long run of them may bypass the filter. `u64::MAX`: the
    /// rest of the stream.
    fn opaque(&self) -> u64 {
        0
    }

    /// `bytes` of the client bypassed the filter; at most [`StreamFilter::opaque`].
    fn skip(&mut self, _bytes: u64) {}

    /// Like [`StreamFilter::opaque`] for the server's next bytes; the others are passed to [`StreamFilter::response`].
    /// By default the rest of the stream.
    fn opaque_response(&self) -> u64 {
        u64::MAX
    }

    /// `bytes` of the server bypassed the filter; at most [`StreamFilter::opaque_response`].
    fn skip_response(&mut self, _bytes: u64) {}

    /// How far the server's answers have come, as far as the filter knows its messages.
    fn answer_progress(&self) -> AnswerProgress {
        AnswerProgress::Unknown
    }

    /// A chunk from the server, before it is passed unchanged to the client.
    fn response(&mut self, _chunk: &[u8]) {}
}
