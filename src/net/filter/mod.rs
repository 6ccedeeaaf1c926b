//! Filters, which see and may change the bytes that a relay moves, and meters, which count them.

pub(super) mod chosen;
pub(super) mod dump;
pub(super) mod http;
pub(super) mod request_log;

use std::sync::Arc;

/// Counts the bytes of one connection. Called on the worker's thread for every message: must not block.
pub trait TrafficMeter {
    /// `bytes` more were delivered to the client.
    fn to_client(&self, bytes: usize);
    /// `bytes` more were delivered to the server.
    fn to_server(&self, bytes: usize);
    /// Bytes read and not yet written, a direction each; called when they have changed, and with zeros at the end.
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

/// What [`StreamFilter::request`] made of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterVerdict {
    /// The chunk goes on as it is; `out` is not looked at.
    Pass,
    /// What is in `out` goes on instead, which may be nothing while the filter waits for more.
    Replace,
}

/// What a filter wants of the relay before it reads more of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterDemand {
    /// Nothing: the client's next bytes.
    Read,
    /// Nothing is to be read of the client until the server has sent something.
    Wait,
    /// [`StreamFilter::request`] is to be called with an empty chunk, to go on with what was held back.
    Resume,
    /// The client's stream is to count as ended.
    End,
    /// The connection is to end, both ways, once the client has got what [`StreamFilter::farewell`] says.
    Close,
}

/// Sees, and may rewrite, what the client sends (for HTTP header insertion, the request log). Bytes that it wants to
/// see are copied rather than spliced.
pub trait StreamFilter {
    /// The most bytes of one chunk; 0 counts as 1.
    fn max_read(&self) -> usize {
        usize::MAX
    }

    /// A chunk as it was read from the client. `out` is empty on entry.
    fn request(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> FilterVerdict;

    /// What it wants before more of the client is read.
    fn demand(&self) -> FilterDemand {
        FilterDemand::Read
    }

    /// The last bytes for the client when the [demand](Self::demand) is to close.
    fn farewell(&self) -> &'static [u8] {
        &[]
    }

    /// The client's stream has ended: puts what was held back into `out`, which is empty on entry. Nothing is asked of
    /// the filter after that, unless it still wants to see what the server sends or to close.
    fn finish(&mut self, out: &mut Vec<u8>);

    /// How many of the client's next bytes need no look; a long run of them may be passed on unseen. `u64::MAX`: all
    /// that will ever come.
    fn opaque(&self) -> u64 {
        0
    }

    /// `bytes` of the client were passed on unseen; at most [`StreamFilter::opaque`].
    fn skip(&mut self, _bytes: u64) {}

    /// As [`StreamFilter::opaque`], of the server's next bytes, which otherwise are shown to
    /// [`StreamFilter::response`]. By default all that will ever come.
    fn opaque_response(&self) -> u64 {
        u64::MAX
    }

    /// `bytes` of the server were passed on unseen; at most [`StreamFilter::opaque_response`].
    fn skip_response(&mut self, _bytes: u64) {}

    /// A chunk that the server sent, before it goes on unchanged to the client.
    fn response(&mut self, _chunk: &[u8]) {}
}
