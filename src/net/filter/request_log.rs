//! The request log of a connection without HTTP mode: the first line of each chunk that the client sends.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::core::affinity::Client;
use crate::core::snapshot::Backend;
use crate::weblog::{LogEntry, LogHandle};

use super::{FilterVerdict, StreamFilter};

/// The most bytes of a request on one line of the log without -H, as in C pen.
const LOGGED_READ: usize = 32 * 1024;

/// Logs requests.
#[derive(Debug)]
pub(in crate::net) struct RequestLog {
    log: LogHandle,
    client: Client,
    backend: Arc<Backend>,
}

impl RequestLog {
    /// A log of the requests of `client` to `backend`.
    pub(in crate::net) fn new(log: LogHandle, client: Client, backend: Arc<Backend>) -> Self {
        RequestLog { log, client, backend }
    }

    /// Logs one request, or the first line of a chunk.
    pub(in crate::net) fn log(&self, request: &[u8]) {
        if self.log.is_on() {
            let epoch = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs());
            let epoch = i64::try_from(epoch).unwrap_or(i64::MAX);
            self.log.entry(&LogEntry {
                client: self.client.ip(),
                epoch,
                server: &self.backend.label,
                request,
            });
        }
    }
}

/// Without -H: one line for each read; all bytes pass unchanged.
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
