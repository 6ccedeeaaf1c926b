//! Puts lines into the order of their seconds.
//!
//! Servers write a line when a request ends, but some date it by its beginning. Lines are kept in a buffer for each
//! second until no earlier ones are to be expected.

use std::collections::BTreeMap;
use std::ops::Range;

use super::super::key::Key;

/// Most buffers kept for later seconds.
const SPARE: usize = 64;

/// A line that waits.
pub(super) struct Line {
    /// Where its text is in [`Second::text`], without a newline.
    pub(super) text: Range<usize>,
    /// How many bytes the client takes; 0 if the line has none.
    pub(super) client: usize,
    /// Where in the line its date is, without brackets; empty if there is none.
    pub(super) date: Range<usize>,
    /// Which of the servers wrote it.
    pub(super) server: usize,
    /// Its server and request, if it is a line that pen may know.
    pub(super) key: Option<Key>,
}

/// The lines of one second.
#[derive(Default)]
pub(super) struct Second {
    /// Their text, one after the other.
    pub(super) text: Vec<u8>,
    /// The lines, in the order in which they came.
    pub(super) lines: Vec<Line>,
}

/// Lines by their second.
#[derive(Default)]
pub(super) struct Order {
    seconds: BTreeMap<i64, Second>,
    spare: Vec<Second>,
}

impl Order {
    /// Adds a line of the second `epoch`. `line.text` is set here.
    pub(super) fn add(&mut self, epoch: i64, text: &[u8], mut line: Line) {
        let spare = &mut self.spare;
        let second = self.seconds.entry(epoch).or_insert_with(|| spare.pop().unwrap_or_default());
        line.text = second.text.len()..second.text.len() + text.len();
        second.text.extend_from_slice(text);
        second.lines.push(line);
    }

    /// Takes the first second if it is before `limit`.
    pub(super) fn take_before(&mut self, limit: i64) -> Option<(i64, Second)> {
        let first = self.seconds.first_entry().filter(|entry| *entry.key() < limit)?;
        Some(first.remove_entry())
    }

    /// Takes the first second.
    pub(super) fn take(&mut self) -> Option<(i64, Second)> {
        self.seconds.pop_first()
    }

    /// Gives a second's buffers back.
    pub(super) fn recycle(&mut self, mut second: Second) {
        if self.spare.len() < SPARE {
            second.text.clear();
            second.lines.clear();
            self.spare.push(second);
        }
    }
}
