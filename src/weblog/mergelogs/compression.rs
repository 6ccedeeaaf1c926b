//! Detection and decompression of compressed logs.

use std::io::{self, BufReader, Cursor, Read};

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;
use lzma_rust2::XzReader;

use super::zstd::ZstdReader;

/// The number of bytes at the beginning that identify the format.
const MAGIC: usize = 10;

/// Bytes of compressed data read at once.
const BUFFER: usize = 256 << 10;

/// The memory limit for the dictionary of an xz file, in KiB: `xz -9` takes 64 MiB.
const XZ_MEMORY_KIB: u32 = 512 << 10;

/// Formats that are recognized but not supported, by their first bytes.
const REFUSED: [(&[u8], &str); 9] = [
    (b"\x1f\x9d", "is compressed with compress(1)"),
    (b"\x1f\x1e", "is compressed with pack(1)"),
    (b"\x1f\xa0", "is compressed with LZH"),
    (b"PK\x03\x04", "is a zip archive"),
    (b"7z\xbc\xaf\x27\x1c", "is a 7z archive"),
    (b"\x04\x22\x4d\x18", "is compressed with lz4"),
    (b"LZIP", "is compressed with lzip"),
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
    Ok(match magic.as_slice() {
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(buffered(whole))),
        [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59]
        | [b'B', b'Z', b'h', b'1'..=b'9', 0x17, 0x72, 0x45, 0x38, 0x50, 0x90] => {
            Box::new(MultiBzDecoder::new(buffered(whole)))
        }
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => {
            Box::new(XzReader::new_mem_limit(buffered(whole), true, XZ_MEMORY_KIB))
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            Box::new(ZstdReader::new(buffered(whole)))
        }
        _ => Box::new(whole),
    })
}
