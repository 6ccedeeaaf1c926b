//! The logs that are read: files, gzipped files, standard input.

use std::cell::Cell;
use std::fs::{File, Metadata};
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;
use memchr::memchr;

/// Bytes read at once.
const BUFFER: usize = 256 << 10;

/// Longest line; the rest of a longer one is left out.
const LINE: usize = 1 << 20;

/// A log that is read line by line.
pub(super) struct Input {
    reader: Box<dyn BufRead>,
    /// The size of the file and its number, if it is one.
    pub(super) metadata: Option<Metadata>,
}

/// Counts the bytes that were read, of all inputs together.
#[derive(Clone, Default)]
pub(super) struct Meter(Rc<Cell<u64>>);

impl Meter {
    /// Bytes read so far.
    pub(super) fn get(&self) -> u64 {
        self.0.get()
    }
}

struct Metered<R> {
    inner: R,
    meter: Meter,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.meter.0.set(self.meter.get() + n as u64);
        Ok(n)
    }
}

impl Input {
    /// Opens a log; `-` is the standard input. A gzipped one is known by its first bytes (RFC 1952).
    ///
    /// # Errors
    /// It cannot be opened or read.
    pub(super) fn open(path: &Path, meter: &Meter) -> io::Result<Input> {
        let (inner, metadata): (Box<dyn Read>, _) = if path == Path::new("-") {
            (Box::new(io::stdin().lock()), None)
        } else {
            let file = File::open(path)?;
            let metadata = file.metadata()?;
            if metadata.is_dir() {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            (Box::new(file), Some(metadata))
        };
        let mut reader = BufReader::with_capacity(BUFFER, Metered { inner, meter: meter.clone() });
        let gzipped = reader.fill_buf()?.starts_with(&[0x1f, 0x8b]);
        let reader: Box<dyn BufRead> = if gzipped {
            Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(reader)))
        } else {
            Box::new(reader)
        };
        Ok(Input { reader, metadata })
    }

    /// Reads the next line into `line`, without its newline. False at the end.
    ///
    /// # Errors
    /// A read error; a gzipped file that is damaged or cut short.
    pub(super) fn next(&mut self, line: &mut Vec<u8>) -> io::Result<bool> {
        line.clear();
        let mut any = false;
        loop {
            let buffer = match self.reader.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if buffer.is_empty() {
                return Ok(any);
            }
            any = true;
            let end = memchr(b'\n', buffer);
            let piece = &buffer[..end.unwrap_or(buffer.len())];
            line.extend_from_slice(&piece[..piece.len().min(LINE - line.len())]);
            let consumed = piece.len() + usize::from(end.is_some());
            self.reader.consume(consumed);
            if end.is_some() {
                return Ok(true);
            }
        }
    }
}
