//! Detection and decompression of compressed logs.

use std::io::{self, BufReader, Cursor, Read};

use bzip2::bufread::MultiBzDecoder;
use lzma_rust2::XzReader;

use super::gzip::GzipReader;
use super::zstd::ZstdReader;

/// The number of bytes at the beginning that identify the format.
const MAGIC: usize = 10;

/// Bytes of compressed data read at once.
const BUFFER: usize = 256 << 10;

/// The memory limit for the dictionary of an xz file, in KiB: `xz -9` takes 64 MiB.
const XZ_MEMORY_KIB: u32 = 512 << 10;

/// Formats that are recognized but not supported, by their first bytes.
const REFUSED: [(&[u8], &str); 12] = [
    (b"\x1f\x9d", "is compressed with compress(1)"),
    (b"\x1f\x1e", "is compressed with pack(1)"),
    (b"\x1f\xa0", "is compressed with LZH"),
    (b"PK\x03\x04", "is a zip archive"),
    (b"7z\xbc\xaf\x27\x1c", "is a 7z archive"),
    (b"\x04\x22\x4d\x18", "is compressed with lz4"),
    (b"LZIP", "is compressed with lzip"),
    (b"\x5d\x00\x00", "is compressed with lzma"),
    (b"\x78\x9c", "is compressed with zlib"),
    (b"\x78\xda", "is compressed with zlib"),
    (b"\xff\xfe", "is UTF-16 text"),
    (b"\xfe\xff", "is UTF-16 text"),
];

/// The text of a log: decompressed if it is compressed with gzip, bzip2, xz or zstd, and without the byte order mark
/// that some programs put in front of UTF-8.
///
/// # Errors
/// The first bytes cannot be read, or are those of an unsupported format, which the error names.
pub(super) fn decompressed(mut input: Box<dyn Read>) -> io::Result<Box<dyn Read>> {
    // A pipe may return any number of bytes per read.
    let mut magic = Vec::with_capacity(MAGIC);
    input.by_ref().take(MAGIC as u64).read_to_end(&mut magic)?;
    if let Some((_, what)) = REFUSED.iter().find(|(bytes, _)| magic.starts_with(bytes)) {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("expected text, or text compressed with gzip, bzip2, xz or zstd; the file {what}"),
        ));
    }
    let bom = if magic.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    let head = magic.clone().split_off(bom);
    let whole = Cursor::new(head).chain(input);
    let buffered = |whole| BufReader::with_capacity(BUFFER, whole);
    let (format, text): (_, Box<dyn Read>) = match magic.as_slice() {
        [0x1f, 0x8b, ..] => ("gzip", Box::new(GzipReader::new(buffered(whole)))),
        [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59]
        | [b'B', b'Z', b'h', b'1'..=b'9', 0x17, 0x72, 0x45, 0x38, 0x50, 0x90] => {
            ("bzip2", Box::new(MultiBzDecoder::new(buffered(whole))))
        }
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => {
            ("xz", Box::new(XzReader::new_mem_limit(buffered(whole), true, XZ_MEMORY_KIB)))
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            ("zstd", Box::new(ZstdReader::new(buffered(whole))))
        }
        _ => return Ok(Box::new(whole)),
    };
    Ok(Box::new(Decompressor { format, text }))
}

/// A decompressor whose errors say the same for all formats.
struct Decompressor {
    format: &'static str,
    text: Box<dyn Read>,
}

impl Read for Decompressor {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.text.read(buffer).map_err(|error| match (error.kind(), error.raw_os_error()) {
            (io::ErrorKind::Interrupted, _) | (_, Some(_)) => error,
            (kind @ io::ErrorKind::UnexpectedEof, _) => io::Error::new(
                kind,
                format!("incomplete {} data: the end of the file is missing", self.format),
            ),
            (kind, _) => io::Error::new(kind, format!("damaged {} data: {error}", self.format)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(data: &[u8]) -> String {
        let mut text = decompressed(Box::new(Cursor::new(data.to_vec()))).unwrap();
        io::copy(&mut text, &mut io::sink()).unwrap_err().to_string()
    }

    #[test]
    fn other_formats_are_refused_by_name() {
        for (magic, what) in REFUSED {
            let error = decompressed(Box::new(Cursor::new(magic.to_vec()))).err().unwrap().to_string();
            assert!(error.ends_with(&format!("the file {what}")), "{error}");
        }
    }

    #[test]
    fn incomplete_and_damaged_data_is_told_alike_for_all_formats() {
        for (format, data) in [
            ("gzip", &b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xcb\xcfKU\xc8\xc9\x04\x12\xf9i\x0a\x89\x0a9\xf9\xe9\x5c\x00\x1a\xd7\xd8\xaf\x12\x00\x00\x00"[..]),
            ("bzip2", b"BZh91AY&SY\x1dq\xd0z\x00\x00\x08\xd1\x00\x00\x10@\x00#\xa5\xa0\x001\x000\x1a\x98z\xa6h\x01\x06\xa6\x9d)sO\x85\xdc\x91N\x14$\x07\x5ct\x1e\x80"),
            ("xz", b"\xfd7zXZ\x00\x00\x04\xe6\xd6\xb4F\x02\x00!\x01\x16\x00\x00\x00t/\xe5\xa3\x01\x00\x11one line of a log\x0a\x00\x00\x00\xbc\x02y\xcfZ\xe47H\x00\x01*\x12K\x08T\xbc\x1f\xb6\xf3}\x01\x00\x00\x00\x00\x04YZ"),
            ("zstd", b"(\xb5/\xfd$\x12\x91\x00\x00one line of a log\x0aJ\x0c\x03|"),
        ] {
            let mut text = String::new();
            let whole = decompressed(Box::new(Cursor::new(data.to_vec())));
            whole.unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, "one line of a log\n", "{format}");
            let expected = format!("incomplete {format} data: the end of the file is missing");
            assert_eq!(error_of(&data[..data.len() - 9]), expected);
            let error = error_of(&[data, b"and something else"].concat());
            assert!(error.starts_with(&format!("damaged {format} data: ")), "{error}");
        }
    }
}
