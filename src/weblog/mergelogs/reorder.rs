//! Sorts lines by time.
//!
//! Servers write a line when a request ends, but some date it by its beginning. Lines are kept in buckets of about a
//! minute each until no earlier lines can follow.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::weblog::key::RequestKey;

/// The length of a bucket: 2 to the power of this many seconds.
const BUCKET: u32 = 6;

/// The maximum number of spare buffers for later buckets.
const SPARE: usize = 16;

/// A line that waits, and the positions of its parts in its text.
#[derive(Clone, Copy)]
pub(super) struct WaitingLine {
    /// Its time, or that of the line before it.
    pub(super) epoch: i64,
    /// The key of its server and request, if pen may have an entry for it.
    pub(super) key: Option<RequestKey>,
    /// The number of its log.
    pub(super) log: u32,
    /// The client, which is replaced; empty if the line is written unchanged.
    pub(super) client: Span,
    /// The date without its brackets; empty without one.
    pub(super) date: Span,
    /// The line in [`Bucket::text`], without its newline.
    text: Span,
}

/// A range in a text.
#[derive(Clone, Copy, Default)]
pub(super) struct Span {
    start: u32,
    length: u32,
}

impl Span {
    /// This range of `text`.
    pub(super) fn of(self, text: &[u8]) -> &[u8] {
        &text[self.range()]
    }

    pub(super) fn range(self) -> Range<usize> {
        self.start as usize..(self.start + self.length) as usize
    }
}

impl From<Range<usize>> for Span {
    /// Lines and buckets are much smaller than 4 GiB: both have a maximum length.
    fn from(range: Range<usize>) -> Span {
        Span { start: range.start as u32, length: range.len() as u32 }
    }
}

impl WaitingLine {
    /// A line that is written unchanged.
    pub(super) fn plain(epoch: i64, log: u32) -> WaitingLine {
        let nothing = Span::default();
        WaitingLine { epoch, key: None, log, client: nothing, date: nothing, text: nothing }
    }

    /// A line whose client, at `client`, is looked up by `key`.
    pub(super) fn merged(
        epoch: i64,
        log: u32,
        key: RequestKey,
        client: Range<usize>,
        date: Range<usize>,
    ) -> WaitingLine {
        WaitingLine {
            key: Some(key),
            client: client.into(),
            date: date.into(),
            ..WaitingLine::plain(epoch, log)
        }
    }
}

/// The lines of some seconds.
#[derive(Default)]
pub(super) struct Bucket {
    text: Vec<u8>,
    lines: Vec<WaitingLine>,
    /// The order of the lines, once it is known.
    order: Vec<u32>,
}

impl Bucket {
    /// The lines by time; those of the same second by log, in the order in which the logs were given, and as they stand in it.
    pub(super) fn lines(&self) -> impl Iterator<Item = (&WaitingLine, &[u8])> {
        let lines = self.order.iter().map(|&n| &self.lines[n as usize]);
        lines.map(|line| (line, line.text.of(&self.text)))
    }

    /// Sorts the lines by counting: the lines of each second begin after those of all seconds before it. Then those of each
    /// second by log: which log is read first depends on how far it was read before.
    fn sort(&mut self) {
        let second = |line: &WaitingLine| (line.epoch & ((1 << BUCKET) - 1)) as usize;
        let mut places = [0_u32; 1 << BUCKET];
        self.lines.iter().for_each(|line| places[second(line)] += 1);
        let mut sum = 0;
        for place in &mut places {
            sum += std::mem::replace(place, sum);
        }
        self.order.clear();
        self.order.resize(self.lines.len(), 0);
        for (n, line) in self.lines.iter().enumerate() {
            let place = &mut places[second(line)];
            self.order[*place as usize] = n as u32;
            *place += 1;
        }
        let lines = &self.lines;
        let mut begin = 0;
        for end in places {
            let second = &mut self.order[begin as usize..end as usize];
            if !second.is_sorted_by_key(|&n| lines[n as usize].log) {
                second.sort_by_key(|&n| lines[n as usize].log);
            }
            begin = end;
        }
    }
}

/// The waiting lines by time.
#[derive(Default)]
pub(super) struct Reorder {
    /// The bucket that was used last, and its number: usually the next line goes into it too.
    current: Option<(i64, Bucket)>,
    others: BTreeMap<i64, Bucket>,
    bytes: usize,
    spare: Vec<Bucket>,
}

impl Reorder {
    /// The number of bytes of text that wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a line.
    pub(super) fn add(&mut self, line: WaitingLine, text: &[u8]) {
        self.bytes += text.len();
        let bucket = self.bucket(line.epoch >> BUCKET);
        let start = bucket.text.len();
        bucket.text.extend_from_slice(text);
        bucket.lines.push(WaitingLine { text: Span::from(start..start + text.len()), ..line });
    }

    /// Adds a line directly after the one added last, if that is of the same log; false if it is not.
    pub(super) fn append(&mut self, epoch: i64, log: u32, text: &[u8]) -> bool {
        let Some((number, bucket)) = &mut self.current else { return false };
        let Some(last) = bucket.lines.last_mut() else { return false };
        if *number != epoch >> BUCKET || last.epoch != epoch || last.log != log {
            return false;
        }
        self.bytes += text.len() + 1;
        bucket.text.push(b'\n');
        bucket.text.extend_from_slice(text);
        last.text.length += text.len() as u32 + 1;
        true
    }

    /// Removes the first bucket if all of it is before `limit`. Also returns the time at which it ends.
    pub(super) fn take_before(&mut self, limit: i64) -> Option<(i64, Bucket)> {
        self.shelve();
        let number = *self.others.first_key_value()?.0;
        (end(number) <= limit).then(|| self.take()).flatten()
    }

    /// Removes the first bucket. Also returns the time at which it ends.
    pub(super) fn take(&mut self) -> Option<(i64, Bucket)> {
        self.shelve();
        let (number, mut bucket) = self.others.pop_first()?;
        bucket.sort();
        self.bytes -= bucket.text.len();
        Some((end(number), bucket))
    }

    /// Returns the buffers of a bucket for reuse.
    pub(super) fn recycle(&mut self, mut bucket: Bucket) {
        if self.spare.len() < SPARE {
            bucket.text.clear();
            bucket.lines.clear();
            self.spare.push(bucket);
        }
    }

    fn bucket(&mut self, number: i64) -> &mut Bucket {
        if self.current.as_ref().is_none_or(|(current, _)| *current != number) {
            self.shelve();
            let bucket = self.others.remove(&number).or_else(|| self.spare.pop());
            self.current = Some((number, bucket.unwrap_or_default()));
        }
        &mut self.current.get_or_insert_with(|| (number, Bucket::default())).1
    }

    fn shelve(&mut self) {
        if let Some((number, bucket)) = self.current.take() {
            self.others.insert(number, bucket);
        }
    }
}

/// The end of a bucket: the first second after it.
fn end(number: i64) -> i64 {
    number.saturating_add(1).saturating_mul(1 << BUCKET)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn lines_come_out_by_time_and_log_and_then_as_they_came(
            lines in prop::collection::vec((-300_i64..300, 0_u32..3), 0..400),
        ) {
            let mut reorder = Reorder::default();
            for (n, &(epoch, log)) in lines.iter().enumerate() {
                reorder.add(WaitingLine::plain(epoch, log), n.to_string().as_bytes());
            }
            let mut out = Vec::new();
            while let Some((_, bucket)) = reorder.take() {
                out.extend(bucket.lines().map(|(line, text)| (line.epoch, String::from_utf8_lossy(text).into_owned())));
                reorder.recycle(bucket);
            }
            let mut wanted: Vec<_> = lines.iter().enumerate().collect();
            wanted.sort_by_key(|(_, line)| **line);
            let wanted: Vec<_> = wanted.into_iter().map(|(n, &(epoch, _))| (epoch, n.to_string())).collect();
            prop_assert_eq!(out, wanted);
            prop_assert_eq!(reorder.bytes(), 0);
        }
    }

    #[test]
    fn a_bucket_is_taken_once_all_of_it_is_due() {
        let mut reorder = Reorder::default();
        reorder.add(WaitingLine::plain(10, 0), b"a");
        assert!(reorder.append(10, 0, b"b") && !reorder.append(10, 1, b"c") && !reorder.append(11, 0, b"c"));
        assert!(reorder.take_before(63).is_none());
        let (end, bucket) = reorder.take_before(64).unwrap();
        assert_eq!((end, bucket.lines().map(|(_, text)| text).collect::<Vec<_>>()), (64, vec![&b"a\nb"[..]]));
    }
}
