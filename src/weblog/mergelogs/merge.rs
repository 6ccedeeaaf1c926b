//! The merge itself: reads the logs, sorts their lines by time, and writes the output.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::path::Path;

use crate::weblog::entry::{LoggedClient, write_client};
use crate::weblog::key::RequestKey;
use crate::weblog::timestamp::write_utc;

use super::access_log::{AccessLog, ParsedLine};
use super::counts::LineCounts;
use super::doubt::Decision;
use super::output::{Output, about};
use super::pen_log::PenLog;
use super::progress::Progress;
use super::reorder::{Bucket, Reorder, WaitingLine};
use super::window::EntryWindow;

/// The maximum bytes of lines that wait to be sorted; beyond it, the earliest are written.
const MEMORY: usize = 512 << 20;

/// The minimum number of seconds read from one log before another one is read.
const LEAST_STEP: i64 = 60;

/// The open logs by the time up to which they were read, the earliest first; of several, the first as they were given.
type ReadQueue = BinaryHeap<Reverse<(i64, usize)>>;

/// The parameters of a merge.
#[derive(Clone, Copy)]
pub(super) struct Rules {
    /// The maximum difference between the stamps of pen and of a web server, in seconds.
    pub(super) jitter: i64,
    /// The number of seconds over which lines are sorted.
    pub(super) slack: i64,
    /// Convert the stamps to UTC.
    pub(super) utc: bool,
    /// 1 reports each line that matches nothing, 2 also each match.
    pub(super) debug: u32,
}

/// The state of a merge, except for the web servers' logs.
pub(super) struct Merge<'a> {
    rules: Rules,
    window: EntryWindow,
    reorder: Reorder,
    pub(super) pen: PenLog,
    pen_path: &'a Path,
    /// The end of the last bucket that was written.
    released: i64,
    out: Output,
    pub(super) counts: LineCounts,
    /// Whether every log was read to its end.
    pub(super) whole: bool,
    tell: &'a mut dyn FnMut(&str),
    progress: Progress,
}

impl<'a> Merge<'a> {
    pub(super) fn new(
        rules: Rules,
        pen: PenLog,
        pen_path: &'a Path,
        out: Output,
        progress: Progress,
        tell: &'a mut dyn FnMut(&str),
    ) -> Merge<'a> {
        Merge {
            rules,
            window: EntryWindow::new(rules.jitter),
            reorder: Reorder::default(),
            pen,
            pen_path,
            released: i64::MIN,
            out,
            counts: LineCounts::default(),
            whole: true,
            tell,
            progress,
        }
    }

    /// Merges all of the logs.
    ///
    /// # Errors
    /// An error of the output. A log that cannot be read is reported, and the others are merged.
    pub(super) fn run(&mut self, logs: &mut [AccessLog]) -> io::Result<()> {
        // The log that is furthest behind is read next: its lines are earlier than any line still to come.
        let mut queue: ReadQueue = (0..logs.len()).map(|n| Reverse((logs[n].frontier.time(), n))).collect();
        while let Some(Reverse((time, n))) = queue.pop() {
            let next = queue.peek().map_or(i64::MAX, |Reverse((time, _))| *time);
            // Limits the step, so that output is written regularly.
            let until = next.min(time.saturating_add(LEAST_STEP)).max(time);
            let log = &mut logs[n];
            self.read(n as u32, log, until)?;
            if log.is_open {
                queue.push(Reverse((log.frontier.time(), n)));
            }
            let frontier = queue.peek().map(|Reverse((time, _))| *time);
            let limit = frontier.map_or(i64::MIN, |time| time.saturating_sub(self.rules.slack));
            while let Some(bucket) = self.reorder.take_before(limit) {
                self.release(bucket, logs)?;
            }
            while self.reorder.bytes() > MEMORY
                && let Some(bucket) = self.reorder.take()
            {
                self.release(bucket, logs)?;
            }
        }
        while let Some(bucket) = self.reorder.take() {
            self.release(bucket, logs)?;
        }
        self.out.flush()?;
        self.progress.finish();
        Ok(())
    }

    /// Reads a log until its time is past `until`, or memory is full.
    fn read(&mut self, n: u32, log: &mut AccessLog, until: i64) -> io::Result<()> {
        while log.frontier.time() <= until && self.reorder.bytes() <= MEMORY {
            let more = log.lines.advance();
            if !matches!(more, Ok(true)) {
                log.is_open = false;
                self.release_held(n, log, None)?;
                if let Err(error) = more {
                    (self.tell)(&about(&log.path, &error).to_string());
                    self.whole = false;
                }
                break;
            }
            self.counts.lines += 1;
            self.progress.lines(self.counts.lines);
            let parsed = log.parse();
            self.release_held(n, log, parsed.as_ref().map(|parsed| parsed.epoch))?;
            match parsed {
                Some(parsed) if log.doubt.is_doubtful(parsed.epoch) => {
                    log.doubt.hold(parsed.epoch, log.lines.line().to_vec());
                }
                Some(parsed) => {
                    let line = log.lines.line();
                    log.frontier.see(parsed.epoch, line.len() as u64);
                    self.add(n, parsed, line);
                }
                None => {
                    self.counts.strange += 1;
                    self.add_plain(n, log.doubt.last(), log.lines.line())?;
                }
            }
        }
        Ok(())
    }

    /// Handles a line that was held until the next one showed whether its stamp is correct.
    fn release_held(&mut self, n: u32, log: &mut AccessLog, next: Option<i64>) -> io::Result<()> {
        let Some(decision) = log.doubt.decide(next) else { return Ok(()) };
        let (Decision::Right(epoch, line) | Decision::Damaged(epoch, line)) = &decision;
        let Some(parsed) = log.parse_other(line) else { return Ok(()) };
        if matches!(decision, Decision::Right(..)) {
            log.frontier.see(*epoch, line.len() as u64);
            self.add(n, parsed, line);
            return Ok(());
        }
        // All that is known of its time is that it follows the line before it.
        self.counts.unmatched += 1;
        self.report(line, None);
        let (before, after) = (&line[..parsed.client.start], &line[parsed.client.end..]);
        self.add_plain(n, *epoch, &[before, log.server.as_bytes(), after].concat())
    }

    /// Adds a line to be sorted.
    fn add(&mut self, n: u32, parsed: ParsedLine, text: &[u8]) {
        self.counts.late += u64::from(parsed.epoch < self.released);
        let line = WaitingLine::merged(parsed.epoch, n, parsed.key, parsed.client, parsed.date);
        self.reorder.add(line, text);
    }

    /// Adds a line that is written unchanged after the one before it; without one, it is written now.
    fn add_plain(&mut self, n: u32, epoch: i64, text: &[u8]) -> io::Result<()> {
        if epoch == i64::MIN {
            self.out.buffer.extend_from_slice(text);
            return self.out.end_line();
        }
        if !self.reorder.append(epoch, n, text) {
            self.reorder.add(WaitingLine::plain(epoch, n), text);
        }
        Ok(())
    }

    /// Writes the lines of a bucket that ends at `end`.
    fn release(&mut self, (end, bucket): (i64, Bucket), logs: &[AccessLog]) -> io::Result<()> {
        self.released = self.released.max(end);
        for (line, text) in bucket.lines() {
            let mut rest = 0;
            if let Some(key) = line.key {
                let client = self.find(key, line.epoch, text);
                let out = &mut self.out.buffer;
                let place = line.client.range();
                out.extend_from_slice(&text[..place.start]);
                match client {
                    Some(client) => write_client(client, out),
                    None => out.extend_from_slice(logs[line.log as usize].server.as_bytes()),
                }
                rest = place.end;
                if self.rules.utc {
                    rest = write_in_utc(line, text, rest, out);
                }
            }
            self.out.buffer.extend_from_slice(&text[rest..]);
            self.out.end_line()?;
        }
        self.reorder.recycle(bucket);
        Ok(())
    }

    /// Finds the client of a line.
    fn find(&mut self, key: RequestKey, epoch: i64, text: &[u8]) -> Option<LoggedClient> {
        self.window.advance(epoch);
        let limit = epoch.saturating_add(self.rules.jitter);
        if let Err(error) = self.pen.read_until(limit, &mut self.window) {
            (self.tell)(&about(self.pen_path, &error).to_string());
            self.whole = false;
        }
        let client = self.window.take(key, epoch);
        self.counts.unmatched += u64::from(client.is_none());
        if self.rules.debug > 0 {
            self.report(text, client);
        }
        client
    }

    /// Reports a line, for -d.
    fn report(&mut self, text: &[u8], client: Option<LoggedClient>) {
        let text = text.split(|&byte| byte == b'\n').next().unwrap_or_default().escape_ascii();
        match client {
            None if self.rules.debug > 0 => (self.tell)(&format!("no match: {text}")),
            Some(client) if self.rules.debug > 1 => {
                let client = client.map_or("-".into(), |address| address.to_string());
                (self.tell)(&format!("{client}: {text}"));
            }
            _ => {}
        }
    }
}

/// Appends a line up to and including its date, which is converted to UTC. Returns where the rest begins; the part
/// before `from` is already written.
fn write_in_utc(line: &WaitingLine, text: &[u8], from: usize, out: &mut Vec<u8>) -> usize {
    let date = line.date.range();
    if date.start < from {
        return from;
    }
    out.extend_from_slice(&text[from..date.start]);
    write_utc(line.epoch, out);
    date.end
}
