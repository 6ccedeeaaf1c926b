//! The lines of a message head: its end, and lines that a client has folded (RFC 9112, sections 2.2 and 5.2).

use std::borrow::Cow;

/// The longest head that pen reads, in bytes.
pub(super) const MAX_HEAD: usize = 64 * 1024;

/// A head buffer that grew beyond this many bytes is freed with its head, so that an idle connection stays small.
const KEEP_CAPACITY: usize = 1024;

/// The buffer emptied for the next head, or none if it is large.
pub(super) fn recycle(mut buffer: Vec<u8>) -> Vec<u8> {
    if buffer.capacity() > KEEP_CAPACITY {
        return Vec::new();
    }
    buffer.clear();
    buffer
}

/// How many bytes of `input` belong to a head of which `before` came earlier, up to the empty line that ends it; `None`
/// while that line has not come. A line may end in LF alone.
pub(super) fn end_of_head(before: &[u8], input: &[u8]) -> Option<usize> {
    let earlier = |at: usize, back: usize| match at.checked_sub(back) {
        Some(index) => input.get(index),
        None => before.len().checked_sub(back - at).and_then(|index| before.get(index)),
    };
    let ends = |at: &usize| match earlier(*at, 1) {
        Some(b'\r') => matches!(earlier(*at, 2), None | Some(b'\n')),
        last => matches!(last, None | Some(b'\n')),
    };
    memchr::memchr_iter(b'\n', input).find(ends).map(|at| at + 1)
}

/// The first line without its line end, as far as it has come.
pub(super) fn first_line(message: &[u8]) -> &[u8] {
    without_line_end(message.split_inclusive(|&byte| byte == b'\n').next().unwrap_or_default())
}

fn without_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Whether a head holds a byte that servers read in different ways: NUL, or a CR without LF.
pub(super) fn has_stray_bytes(head: &[u8]) -> bool {
    memchr::memchr2_iter(b'\r', 0, head)
        .any(|at| head.get(at) == Some(&0) || head.get(at + 1) != Some(&b'\n'))
}

/// One line of a head, including its continuation lines.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeadLine<'a> {
    /// Without the last line end.
    pub(super) text: &'a [u8],
    /// It ends in CR LF, and no other line continues it.
    pub(super) is_canonical: bool,
}

impl<'a> HeadLine<'a> {
    /// The text in one line: each line end with the white space after it becomes one space.
    pub(super) fn unfolded(&self) -> Cow<'a, [u8]> {
        if memchr::memchr(b'\n', self.text).is_none() {
            return Cow::Borrowed(self.text);
        }
        let mut text = Vec::with_capacity(self.text.len());
        for (n, part) in self.text.split_inclusive(|&byte| byte == b'\n').enumerate() {
            let part = without_line_end(part);
            if n > 0 {
                text.push(b' ');
            }
            text.extend_from_slice(if n > 0 { part.trim_ascii_start() } else { part });
        }
        Cow::Owned(text)
    }
}

/// The lines of a head, without the empty one at its end.
#[derive(Clone, Debug)]
pub(super) struct HeadLines<'a>(&'a [u8]);

impl<'a> HeadLines<'a> {
    /// The lines of a complete head.
    pub(super) fn of(head: &'a [u8]) -> Self {
        let head = head.strip_suffix(b"\n").unwrap_or(head);
        HeadLines(head.strip_suffix(b"\r").unwrap_or(head))
    }
}

impl<'a> Iterator for HeadLines<'a> {
    type Item = HeadLine<'a>;

    fn next(&mut self) -> Option<HeadLine<'a>> {
        if self.0.is_empty() {
            return None;
        }
        let mut ends = memchr::memchr_iter(b'\n', self.0).map(|at| at + 1);
        let first = ends.next().unwrap_or(self.0.len());
        let mut end = first;
        while matches!(self.0.get(end), Some(b' ' | b'\t')) {
            end = ends.next().unwrap_or(self.0.len());
        }
        let (line, rest) = self.0.split_at(end);
        self.0 = rest;
        Some(HeadLine { text: without_line_end(line), is_canonical: end == first && line.ends_with(b"\r\n") })
    }
}
