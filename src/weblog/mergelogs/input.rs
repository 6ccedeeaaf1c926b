//! The logs to read: files, compressed or not, and standard input.

use std::cell::Cell;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::Path;
use std::rc::Rc;

use super::compression::decompressed;
use super::lines::LineReader;

/// A log that is read line by line.
pub(super) struct InputLog {
    pub(super) lines: LineReader,
    /// The metadata of the file; `None` for standard input.
    pub(super) metadata: Option<Metadata>,
}

impl InputLog {
    /// Opens a log; `-` is standard input. The compression is detected from the first bytes.
    ///
    /// # Errors
    /// It cannot be opened or read, or its compression is not supported.
    pub(super) fn open(path: &Path, bytes_read: &BytesRead) -> io::Result<InputLog> {
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
        let text = decompressed(Box::new(CountingReader { inner, bytes_read: bytes_read.clone() }))?;
        Ok(InputLog { lines: LineReader::new(text), metadata })
    }
}

/// Counts the bytes read from all inputs together.
#[derive(Clone, Default)]
pub(super) struct BytesRead(Rc<Cell<u64>>);

impl BytesRead {
    /// Bytes read so far.
    pub(super) fn get(&self) -> u64 {
        self.0.get()
    }
}

struct CountingReader<R> {
    inner: R,
    bytes_read: BytesRead,
}

impl<R: Read> Read for CountingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.inner.read(buffer) {
                Ok(n) => {
                    self.bytes_read.0.set(self.bytes_read.get() + n as u64);
                    return Ok(n);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
