//! Reads text line by line.

use std::io::{self, Read};
use std::ops::Range;

use memchr::memchr;

/// Bytes per read.
const BUFFER: usize = 256 << 10;

/// The longest line that is kept, in bytes; the rest of a longer one is dropped.
pub(super) const LINE: usize = 1 << 20;

/// Splits the bytes of a reader into lines, which stay in the read buffer.
pub(super) struct LineReader {
    source: Box<dyn Read>,
    buffer: Vec<u8>,
    /// The bytes that were read and not yet consumed.
    unread: Range<usize>,
    line: Range<usize>,
    /// The rest of a line that was too long follows.
    skipping: bool,
    ended: bool,
    /// An error to be returned once the bytes read before it are consumed.
    error: Option<io::Error>,
    /// The number of lines that were cut.
    pub(super) cut: u64,
    /// The number of NULs before lines.
    pub(super) nuls: u64,
}

impl LineReader {
    pub(super) fn new(source: Box<dyn Read>) -> LineReader {
        LineReader {
            source,
            buffer: vec![0; BUFFER],
            unread: 0..0,
            line: 0..0,
            skipping: false,
            ended: false,
            error: None,
            cut: 0,
            nuls: 0,
        }
    }

    /// The line that [`LineReader::advance`] found, without its newline.
    pub(super) fn line(&self) -> &[u8] {
        &self.buffer[self.line.clone()]
    }

    /// Advances to the next line; false at the end. A log that was truncated while its writer continued has as many
    /// NULs before a line as it was long: they are skipped.
    ///
    /// # Errors
    /// A read error, or a compressed file that is damaged or cut short. The text before it is returned first.
    #[inline]
    pub(super) fn advance(&mut self) -> io::Result<bool> {
        // The fast path: nearly every line is complete in the buffer and needs no special treatment.
        let unread = &self.buffer[self.unread.clone()];
        if let Some(n) = memchr(b'\n', unread).filter(|&n| n <= LINE)
            && unread[0] != 0
            && !self.skipping
        {
            self.line = self.unread.start..self.unread.start + n;
            self.unread.start += n + 1;
            return Ok(true);
        }
        self.advance_slowly()
    }

    fn advance_slowly(&mut self) -> io::Result<bool> {
        let mut searched = 0;
        loop {
            let unread = &self.buffer[self.unread.clone()];
            if let Some(n) = memchr(b'\n', &unread[searched..]) {
                let length = searched + n;
                let found = self.take(length, length + 1);
                if found {
                    return Ok(true);
                }
                searched = 0;
                continue;
            }
            searched = unread.len();
            if self.skipping {
                self.unread.start = self.unread.end;
                searched = 0;
            } else if unread.first() == Some(&0) {
                self.skip_nuls();
                searched = self.unread.len();
            } else if searched >= LINE {
                self.take(LINE, LINE);
                self.skipping = true;
                self.cut += 1;
                return Ok(true);
            }
            if self.ended {
                if !self.unread.is_empty() {
                    let length = self.unread.len();
                    self.take(length, length);
                    return Ok(true);
                }
                return self.error.take().map_or(Ok(false), Err);
            }
            self.fill();
        }
    }

    /// Takes `length` bytes as the line, and drops `consumed` bytes. False if they were the rest of a line that was too
    /// long.
    fn take(&mut self, length: usize, consumed: usize) -> bool {
        let (end, next) = (self.unread.start + length, self.unread.start + consumed);
        let is_line = !std::mem::take(&mut self.skipping);
        if is_line {
            if length > 0 && self.buffer[self.unread.start] == 0 {
                self.skip_nuls();
            }
            self.line = self.unread.start..end;
            if self.line.len() > LINE {
                self.line.end = self.line.start + LINE;
                self.cut += 1;
            }
        }
        self.unread.start = next;
        is_line
    }

    fn skip_nuls(&mut self) {
        let nuls = self.buffer[self.unread.clone()].iter().take_while(|&&byte| byte == 0).count();
        self.nuls += nuls as u64;
        self.unread.start += nuls;
    }

    /// Reads more bytes after the present ones.
    fn fill(&mut self) {
        self.buffer.copy_within(self.unread.clone(), 0);
        self.unread = 0..self.unread.len();
        if self.unread.end == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        match self.source.read(&mut self.buffer[self.unread.end..]) {
            Ok(0) => self.ended = true,
            Ok(n) => self.unread.end += n,
            Err(error) => {
                self.ended = true;
                self.error = Some(error);
            }
        }
    }
}
