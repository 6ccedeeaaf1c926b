//! The output for the merged log.

use std::fs::{File, Metadata};
use std::io::{self, Write};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::core::error::SystemReason;

/// Bytes per write.
const BUFFER: usize = 256 << 10;

/// A file or standard output.
pub(super) struct Output {
    to: Box<dyn Write>,
    path: PathBuf,
    /// The bytes to be written.
    pub(super) buffer: Vec<u8>,
}

impl Output {
    /// Opens the output, unless it is one of the inputs.
    ///
    /// # Errors
    /// Errors of open(2), with the name of the file.
    pub(super) fn open<'a>(
        path: Option<&Path>,
        mut inputs: impl Iterator<Item = &'a Metadata>,
    ) -> io::Result<Output> {
        let old = match path {
            Some(path) => std::fs::metadata(path).ok(),
            // Lines that are appended to a log would be read from it, and appended again, without end.
            None => io::stdout().as_fd().try_clone_to_owned().and_then(|to| File::from(to).metadata()).ok(),
        };
        let id = |m: &Metadata| (m.dev(), m.ino());
        let old = old.filter(Metadata::is_file).map(|m| id(&m));
        if old.is_some() && inputs.any(|input| Some(id(input)) == old) {
            let output = path.map_or("standard output".into(), |path| format!("-o {}", path.display()));
            let text = format!("{output}: it is one of the logs to read");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let to: Box<dyn Write> = match path {
            None => Box::new(io::stdout().lock()),
            Some(path) => Box::new(File::create(path).map_err(|error| about(path, &error))?),
        };
        let path = path.unwrap_or(Path::new("standard output")).to_owned();
        Ok(Output { to, path, buffer: Vec::with_capacity(BUFFER * 2) })
    }

    /// Ends a line, and writes the buffer if it is full.
    ///
    /// # Errors
    /// Errors of write(2), with the name of the file.
    pub(super) fn end_line(&mut self) -> io::Result<()> {
        self.buffer.push(b'\n');
        if self.buffer.len() >= BUFFER { self.write() } else { Ok(()) }
    }

    /// Writes the rest of the buffer.
    ///
    /// # Errors
    /// See [`Output::end_line`].
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.write()?;
        self.to.flush().map_err(|error| about(&self.path, &error))
    }

    fn write(&mut self) -> io::Result<()> {
        self.to.write_all(&self.buffer).map_err(|error| about(&self.path, &error))?;
        self.buffer.clear();
        Ok(())
    }
}

/// The same error with the name of the file.
pub(super) fn about(what: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {}", what.display(), SystemReason(error)))
}
