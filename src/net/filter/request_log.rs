//! What pen reads of a client's requests: for the request log, and to add headers in HTTP mode.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::core::http::Rewriter;
use crate::core::snapshot::Backend;
use crate::weblog::{Entry, LogHandle};

use super::{FilterVerdict, StreamFilter};

/// A line of the log without -H stands for at most so many bytes, as in C pen.
const LOGGED_READ: usize = 32 * 1024;

/// Logs requests.
#[derive(Debug)]
pub(in crate::net) struct RequestLog {
    log: LogHandle,
    client: Option<IpAddr>,
    backend: Arc<Backend>,
}

impl RequestLog {
    /// A log of what `client` asks of `backend`.
    pub(in crate::net) fn new(log: LogHandle, client: Option<IpAddr>, backend: Arc<Backend>) -> Self {
        RequestLog { log, client, backend }
    }

    /// Logs one request, or the first line of a chunk.
    pub(in crate::net) fn log(&self, request: &[u8]) {
        if self.log.is_on() {
            let epoch = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs());
            let epoch = i64::try_from(epoch).unwrap_or(i64::MAX);
            self.log.entry(&Entry { client: self.client, epoch, server: &self.backend.label, request });
        }
    }
}

/// Without -H: a line a read, every byte passes as it is.
impl StreamFilter for RequestLog {
    fn max_read(&self) -> usize {
        LOGGED_READ
    }

    fn request(&mut self, chunk: &[u8], _out: &mut Vec<u8>) -> FilterVerdict {
        self.log(chunk);
        FilterVerdict::Pass
    }

    fn finish(&mut self, _out: &mut Vec<u8>) {}
}

/// With -H: headers into each request, a line a request.
#[derive(Debug)]
pub(in crate::net) struct Http {
    rewriter: Rewriter,
    log: RequestLog,
}

impl Http {
    /// Adds headers to the requests of a connection; `https` when it came over TLS.
    pub(in crate::net) fn new(rewriter: Rewriter, log: RequestLog) -> Self {
        Http { rewriter, log }
    }
}

impl StreamFilter for Http {
    fn request(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> FilterVerdict {
        if self.rewriter.opaque() >= chunk.len() as u64 {
            self.rewriter.skip(chunk.len() as u64);
            return FilterVerdict::Pass;
        }
        let Http { rewriter, log } = self;
        rewriter.feed(chunk, out, |request| log.log(request));
        FilterVerdict::Replace
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        self.rewriter.finish(out);
    }

    fn opaque(&self) -> u64 {
        self.rewriter.opaque()
    }

    fn skip(&mut self, bytes: u64) {
        self.rewriter.skip(bytes);
    }

    fn wants_response(&self) -> bool {
        self.rewriter.wants_answers()
    }

    fn response(&mut self, chunk: &[u8]) {
        self.rewriter.observe(chunk);
    }
}
