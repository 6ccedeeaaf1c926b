//! HTTP mode (`-H`): adds the client's identity to each request, and logs it.

use crate::core::http::{AnswerProgress, Ending, Rewriter};
use crate::net::client_name::ClientName;
use crate::sys::log;

use super::request_log::RequestLog;
use super::{FilterDemand, FilterVerdict, StreamFilter};

/// The requests of one connection.
#[derive(Debug)]
pub(in crate::net) struct Http {
    rewriter: Rewriter,
    log: RequestLog,
    client: ClientName,
}

impl Http {
    /// Rewrites the requests of a new connection, and logs them.
    pub(in crate::net) fn new(rewriter: Rewriter, log: RequestLog, client: ClientName) -> Self {
        Http { rewriter, log, client }
    }

    fn report_refusal(&self) {
        if let Some(why) = self.rewriter.refusal() {
            log::debug(1, format_args!("client {}: HTTP request refused: {why}", self.client));
        }
    }
}

impl StreamFilter for Http {
    fn request(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> FilterVerdict {
        let count = chunk.len() as u64;
        if count > 0 && self.rewriter.opaque() >= count {
            self.rewriter.skip(count);
            return FilterVerdict::Pass;
        }
        let Http { rewriter, log, .. } = self;
        rewriter.feed(chunk, out, |request| log.log(request));
        self.report_refusal();
        FilterVerdict::Replace
    }

    fn demand(&self) -> FilterDemand {
        match self.rewriter.ending() {
            Ending::With(_) => FilterDemand::Close,
            Ending::OfRequests => FilterDemand::End,
            Ending::None if self.rewriter.is_ready() => FilterDemand::Resume,
            Ending::None if self.rewriter.wants_requests() => FilterDemand::Read,
            Ending::None => FilterDemand::Wait,
        }
    }

    fn farewell(&self) -> &'static [u8] {
        match self.rewriter.ending() {
            Ending::With(answer) => answer,
            Ending::OfRequests | Ending::None => &[],
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        if self.rewriter.refusal().is_none() {
            self.rewriter.finish(out);
            self.report_refusal();
        }
    }

    fn opaque(&self) -> u64 {
        self.rewriter.opaque()
    }

    fn skip(&mut self, bytes: u64) {
        self.rewriter.skip(bytes);
    }

    fn opaque_response(&self) -> u64 {
        self.rewriter.opaque_answers()
    }

    fn skip_response(&mut self, bytes: u64) {
        self.rewriter.skip_answers(bytes);
    }

    fn answer_progress(&self) -> AnswerProgress {
        self.rewriter.answer_progress()
    }

    fn response(&mut self, chunk: &[u8]) {
        self.rewriter.observe(chunk);
    }
}
