//! Cuts the output of a web server into lines that fit penlogd's datagrams.

use memchr::memchr;

/// The longest line that is sent whole, in bytes without its newline; also the length of a datagram with a cut line.
const LINE: usize = 1023;

/// The mark at the end of a cut line.
const MARK: &[u8] = b"...";

/// Collects pieces of input into lines.
#[derive(Default)]
pub(super) struct LineAssembler {
    line: Vec<u8>,
    /// Whether the line is longer than the part that is kept.
    long: bool,
}

impl LineAssembler {
    /// Takes a piece of input and calls `send` with each line that is now complete, including its newline, and cut if
    /// necessary. Empty lines are dropped, and so are NULs before a line, which a log has that was truncated while it
    /// was written.
    pub(super) fn push(&mut self, mut piece: &[u8], mut send: impl FnMut(&[u8])) {
        while let Some(end) = memchr(b'\n', piece) {
            self.append(&piece[..end]);
            self.end(&mut send);
            piece = &piece[end + 1..];
        }
        self.append(piece);
    }

    /// Calls `send` with the last line, if the input ended without a newline.
    pub(super) fn end(&mut self, send: impl FnOnce(&[u8])) {
        if self.long {
            self.line.truncate(LINE - 1 - MARK.len());
            self.line.extend_from_slice(MARK);
        }
        if !self.line.is_empty() {
            self.line.push(b'\n');
            send(&self.line);
        }
        self.line.clear();
        self.long = false;
    }

    /// Whether a line has begun and not ended.
    pub(super) fn is_mid_line(&self) -> bool {
        !self.line.is_empty()
    }

    fn append(&mut self, mut piece: &[u8]) {
        if self.line.is_empty() {
            let nuls = piece.iter().take_while(|&&byte| byte == 0).count();
            piece = &piece[nuls..];
        }
        let room = LINE - self.line.len();
        self.line.extend_from_slice(&piece[..piece.len().min(room)]);
        self.long |= piece.len() > room;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sent(input: &[u8], size: usize) -> Vec<Vec<u8>> {
        let (mut lines, mut out) = (LineAssembler::default(), Vec::new());
        input.chunks(size).for_each(|piece| lines.push(piece, |line| out.push(line.to_vec())));
        lines.end(|line| out.push(line.to_vec()));
        out
    }

    #[test]
    fn a_long_line_is_cut_with_a_mark_and_never_split() {
        let text = format!("{}\n{}\nend", "a".repeat(1023), "b".repeat(1024));
        let out = sent(text.as_bytes(), 4096);
        assert_eq!(out.len(), 3);
        assert_eq!(out[0], format!("{}\n", "a".repeat(1023)).as_bytes());
        assert_eq!(out[1], format!("{}...\n", "b".repeat(1019)).as_bytes());
        assert_eq!((out[1].len(), &out[2][..]), (1023, &b"end\n"[..]));
    }

    #[test]
    fn nuls_before_a_line_do_not_swallow_it() {
        let text = [&vec![0; 5000][..], b"one\n", &[0; 3], b"\ntwo\0\n"].concat();
        assert_eq!(sent(&text, 1000), [b"one\n".to_vec(), b"two\0\n".to_vec()]);
    }

    proptest! {
        #[test]
        fn pieces_of_any_size_give_the_same_lines(
            lengths in prop::collection::vec(prop_oneof![0_usize..30, 1000_usize..3000], 0..12),
            size in 1_usize..2000,
        ) {
            let text: Vec<u8> = lengths.iter().flat_map(|&n| [vec![b'x'; n], vec![b'\n']].concat()).collect();
            let out = sent(&text, size);
            let wanted: Vec<usize> =
                lengths.iter().filter(|&&n| n > 0).map(|&n| if n > LINE { LINE } else { n + 1 }).collect();
            prop_assert_eq!(out.iter().map(Vec::len).collect::<Vec<_>>(), wanted);
        }
    }
}
