//! Text compressed by gzip(1): any number of members, one after the other (RFC 1952). NULs behind the last one are
//! padding, as tapes and disks leave it.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;

/// Decompresses the bytes of a reader.
pub(super) enum GzipReader<R> {
    /// Between two members.
    Between(R),
    Member(GzDecoder<R>),
    Ended,
}

impl<R: BufRead> GzipReader<R> {
    pub(super) fn new(source: R) -> Self {
        GzipReader::Member(GzDecoder::new(source))
    }
}

impl<R: BufRead> Read for GzipReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self {
                GzipReader::Ended => return Ok(0),
                GzipReader::Member(member) => {
                    let n = member.read(buffer)?;
                    if n > 0 || buffer.is_empty() {
                        return Ok(n);
                    }
                    if let GzipReader::Member(member) = std::mem::replace(self, GzipReader::Ended) {
                        *self = GzipReader::Between(member.into_inner());
                    }
                }
                GzipReader::Between(source) => {
                    let bytes = source.fill_buf()?;
                    let is_end = bytes.is_empty();
                    let padding = bytes.iter().take_while(|byte| **byte == 0).count();
                    let is_padding = padding == bytes.len();
                    source.consume(padding);
                    if is_end {
                        *self = GzipReader::Ended;
                    } else if !is_padding
                        && let GzipReader::Between(source) = std::mem::replace(self, GzipReader::Ended)
                    {
                        *self = GzipReader::Member(GzDecoder::new(source));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Write};

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn member(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn members_follow_each_other_and_padding_is_passed_over() {
        for padding in [0, 1, 511, 70_000] {
            let padding = vec![0; padding];
            let data = [member("one\n"), member("two\n"), padding].concat();
            // A buffer of one byte tells the end of a member apart from everything else.
            for size in [1, 8192] {
                let mut text = String::new();
                let reader = BufReader::with_capacity(size, &data[..]);
                GzipReader::new(reader).read_to_string(&mut text).unwrap();
                assert_eq!(text, "one\ntwo\n");
            }
        }
    }

    #[test]
    fn other_bytes_behind_the_last_member_are_an_error() {
        let data = [member("one\n"), b"\0\0two\n".to_vec()].concat();
        let mut text = Vec::new();
        assert!(GzipReader::new(&data[..]).read_to_end(&mut text).is_err());
        assert_eq!(text, b"one\n");
    }
}
