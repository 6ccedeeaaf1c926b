//! Dumps of traffic, for `-dd`: in hexadecimal or, with `-a`, in ASCII.

use std::fmt;
use std::sync::Arc;

use crate::core::http::AnswerProgress;
use crate::core::snapshot::Backend;
use crate::net::client_name::ClientName;
use crate::sys::log;

use super::{FilterDemand, FilterVerdict, StreamFilter};

/// The minimum debug level at which connections are dumped.
pub(in crate::net) const LEVEL: u32 = 2;

/// The maximum number of bytes in one message, since pen's log limits the number of queued messages and not their size.
const MESSAGE: usize = 1024;

/// Bytes dumped on one line.
const HEXADECIMAL: usize = 32;
const ASCII: usize = 80;

/// Writes all traffic to pen's own log, and passes it to another filter.
pub(in crate::net) struct Dump {
    inner: Option<Box<dyn StreamFilter + Send>>,
    client: ClientName,
    backend: Arc<Backend>,
    ascii: bool,
}

impl Dump {
    /// Dumps a connection of `client` to `backend`; `inner` sees it too.
    pub(in crate::net) fn new(
        inner: Option<Box<dyn StreamFilter + Send>>,
        client: ClientName,
        backend: Arc<Backend>,
        ascii: bool,
    ) -> Self {
        Dump { inner, client, backend, ascii }
    }

    /// Dumps data from one side.
    pub(in crate::net) fn show(&self, who: &str, chunk: &[u8]) {
        for bytes in chunk.chunks(MESSAGE) {
            let (client, label, port) = (self.client, &self.backend.label, self.backend.port);
            let (count, bytes) = (bytes.len(), Bytes { bytes, ascii: self.ascii });
            log::debug_lines(
                LEVEL,
                format_args!(
                    "client '{client}', server {label} port {port}: {count} bytes of the {who}{bytes}"
                ),
            );
        }
    }
}

impl StreamFilter for Dump {
    fn max_read(&self) -> usize {
        self.inner.as_ref().map_or(usize::MAX, |inner| inner.max_read())
    }

    fn request(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> FilterVerdict {
        self.show("client", chunk);
        self.inner.as_mut().map_or(FilterVerdict::Pass, |inner| inner.request(chunk, out))
    }

    fn demand(&self) -> FilterDemand {
        self.inner.as_ref().map_or(FilterDemand::Read, |inner| inner.demand())
    }

    fn farewell(&self) -> &'static [u8] {
        self.inner.as_ref().map_or(&[], |inner| inner.farewell())
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        if let Some(inner) = &mut self.inner {
            inner.finish(out);
        }
    }

    /// Also after the client has ended: the answer is still to come.
    fn opaque_response(&self) -> u64 {
        0
    }

    fn answer_progress(&self) -> AnswerProgress {
        self.inner.as_ref().map_or(AnswerProgress::Unknown, |inner| inner.answer_progress())
    }

    fn response(&mut self, chunk: &[u8]) {
        self.show("server", chunk);
        match &mut self.inner {
            Some(inner) if inner.opaque_response() >= chunk.len() as u64 => {
                inner.skip_response(chunk.len() as u64);
            }
            Some(inner) => inner.response(chunk),
            None => {}
        }
    }
}

/// Bytes as lines, each preceded by a line feed.
struct Bytes<'a> {
    bytes: &'a [u8],
    ascii: bool,
}

impl fmt::Display for Bytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.ascii {
            return self.bytes.chunks(HEXADECIMAL).try_for_each(|line| {
                f.write_str("\n")?;
                line.iter().try_for_each(|byte| write!(f, " {byte:02x}"))
            });
        }
        let shown = |byte: &u8| if matches!(byte, b' '..=b'~') { char::from(*byte) } else { '.' };
        self.bytes.split_inclusive(|byte| *byte == b'\n').flat_map(|line| line.chunks(ASCII)).try_for_each(
            |line| {
                f.write_str("\n ")?;
                line.iter().try_for_each(|byte| write!(f, "{}", shown(byte)))
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_in_lines() {
        let shown = |bytes: &[u8], ascii| Bytes { bytes, ascii }.to_string();
        assert_eq!(shown(b"a\xff\n", false), "\n 61 ff 0a");
        assert_eq!(shown(&[0; 33], false), format!("\n{}\n 00", " 00".repeat(32)));
        assert_eq!(shown(b"GET /\r\n\x00b\xff", true), "\n GET /..\n .b.");
        assert_eq!(shown(&[b'x'; 81], true), format!("\n {}\n x", "x".repeat(80)));
        assert_eq!(shown(b"", true), "");
    }
}
