//! A web server's log, line by line.

use std::ops::Range;
use std::path::{Path, PathBuf};

use memchr::memchr;

use crate::weblog::access_line::{AccessLine, unescape};
use crate::weblog::entry::{FILE_REQUEST, file_byte, is_plain};
use crate::weblog::key::{RequestKey, ServerKeys};
use crate::weblog::timestamp::{TimestampParser, Zone};

use super::doubt::Doubt;
use super::frontier::Frontier;
use super::lines::LineReader;

/// A web server's log, and the read position.
pub(super) struct AccessLog {
    /// The server's name, as it is written where no client is known.
    pub(super) server: String,
    pub(super) path: PathBuf,
    pub(super) lines: LineReader,
    pub(super) frontier: Frontier,
    /// Holds a line whose time stamp is doubtful.
    pub(super) doubt: Doubt<Vec<u8>>,
    pub(super) is_open: bool,
    pub(super) stamps: TimestampParser,
    keys: ServerKeys,
    request: Vec<u8>,
    /// The client of the last line, which usually is pen itself.
    client: Vec<u8>,
}

/// The parsed parts of a line.
pub(super) struct ParsedLine {
    /// Its time in seconds since 1970.
    pub(super) epoch: i64,
    pub(super) key: RequestKey,
    pub(super) client: Range<usize>,
    pub(super) date: Range<usize>,
}

impl AccessLog {
    /// A log of which nothing has been read.
    pub(super) fn new(
        server: &str,
        path: &Path,
        lines: LineReader,
        frontier: Frontier,
        zone: Option<Zone>,
        keys: ServerKeys,
    ) -> AccessLog {
        AccessLog {
            server: server.to_owned(),
            path: path.to_owned(),
            lines,
            frontier,
            doubt: Doubt::default(),
            is_open: true,
            stamps: TimestampParser::new(zone),
            keys,
            request: Vec::new(),
            client: Vec::new(),
        }
    }

    /// Parses the line that was read last; `None` if its format is unknown or it has no readable time stamp.
    pub(super) fn parse(&mut self) -> Option<ParsedLine> {
        let line = self.lines.line();
        let parts = AccessLine::parse_with(line, &mut self.client)?;
        parse(line, parts, &mut self.stamps, &self.keys, &mut self.request)
    }

    /// Parses another line of the log.
    pub(super) fn parse_other(&mut self, line: &[u8]) -> Option<ParsedLine> {
        parse(line, AccessLine::parse(line)?, &mut self.stamps, &self.keys, &mut self.request)
    }
}

#[inline]
fn parse(
    line: &[u8],
    parts: AccessLine,
    stamps: &mut TimestampParser,
    keys: &ServerKeys,
    buffer: &mut Vec<u8>,
) -> Option<ParsedLine> {
    let AccessLine { client, date, request } = parts;
    let date = date?;
    let (epoch, date) = match stamps.parse(&line[date.clone()]) {
        Some(epoch) => (epoch, date),
        None => other_brackets(line, client.end, stamps)?,
    };
    Some(ParsedLine { epoch, key: keys.key(form(&line[request], buffer)), client, date })
}

/// The first part in brackets that is a time stamp: other parts may be in brackets too.
fn other_brackets(line: &[u8], from: usize, stamps: &mut TimestampParser) -> Option<(i64, Range<usize>)> {
    // Thousands of brackets may be open before one is closed: each end is searched once.
    let (mut at, mut end) = (from, from);
    while let Some(begin) = memchr(b'[', &line[at..]).map(|n| at + n + 1) {
        if end < begin {
            end = begin + memchr(b']', &line[begin..])?;
        }
        if let Some(epoch) = stamps.parse(&line[begin..end]) {
            return Some((epoch, begin..end));
        }
        at = begin;
    }
    None
}

/// The request in pen's form. Most requests already have it.
fn form<'a>(request: &'a [u8], buffer: &'a mut Vec<u8>) -> &'a [u8] {
    let head = &request[..request.len().min(FILE_REQUEST)];
    if is_plain(head) && !head.iter().fold(false, |found, &byte| found | (byte == b'\\')) {
        return head;
    }
    buffer.clear();
    unescape(request, file_byte, FILE_REQUEST, buffer);
    buffer
}
