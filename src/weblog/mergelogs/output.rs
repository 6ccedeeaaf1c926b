//! The output for the merged log.

use std::fs::{File, Metadata};
use std::io::{self, Write};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::core::error::SystemReason;
use crate::sys::atomic_file;
use crate::weblog::escape::push_escaped_except;

/// Bytes per write.
const BUFFER: usize = 256 << 10;

/// A file or standard output.
pub(super) struct Output {
    to: Box<dyn Write>,
    path: PathBuf,
    /// The bytes to be written.
    pub(super) buffer: Vec<u8>,
    /// Where in it the current line begins.
    start: usize,
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
        let (to, file): (Box<dyn Write>, _) = match path {
            Some(path) => {
                let file = atomic_file::open_for_writing(path).map_err(|error| about(path, &error))?;
                (Box::new(file.try_clone()?), Some(file))
            }
            None => {
                let file = io::stdout().as_fd().try_clone_to_owned().map(File::from).ok();
                (Box::new(io::stdout().lock()), file)
            }
        };
        let old = file.as_ref().and_then(|file| file.metadata().ok()).filter(Metadata::is_file);
        let id = |m: &Metadata| (m.dev(), m.ino());
        // Lines that are written to a log would be read from it, and written again, without end.
        if let Some(old) = &old
            && inputs.any(|input| id(input) == id(old))
        {
            let output = path.map_or("standard output".into(), |path| format!("-o {}", path.display()));
            let text = format!("{output}: it is one of the logs to read");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        if let (Some(path), Some(file), Some(_)) = (path, &file, &old) {
            file.set_len(0).map_err(|error| about(path, &error))?;
        }
        let path = path.unwrap_or(Path::new("standard output")).to_owned();
        Ok(Output { to, path, buffer: Vec::with_capacity(BUFFER * 2), start: 0 })
    }

    /// Ends a line, and writes the buffer if it is full.
    ///
    /// # Errors
    /// Errors of write(2), with the name of the file.
    pub(super) fn end_line(&mut self) -> io::Result<()> {
        escape(&mut self.buffer, self.start);
        self.buffer.push(b'\n');
        self.start = self.buffer.len();
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
        self.start = 0;
        Ok(())
    }
}

/// Escapes the control characters of the lines from `start` on, as the web servers themselves do: a merged log is read
/// at terminals, and merged again. Tabs and the ends of lines are part of a format and stay.
fn escape(buffer: &mut Vec<u8>, start: usize) {
    let is_plain = |&byte: &u8| matches!(byte, b' '..=b'~' | b'\t');
    // Without a branch for each byte, the search takes a small part of the time for a line.
    let text = &buffer[start..];
    if text.iter().fold(true, |plain, byte| plain & is_plain(byte)) {
        return;
    }
    let text = buffer.split_off(start);
    for (n, line) in text.split(|&byte| byte == b'\n').enumerate() {
        if n > 0 {
            buffer.push(b'\n');
        }
        let (line, end) = line.strip_suffix(b"\r").map_or((line, &b""[..]), |line| (line, b"\r"));
        push_escaped_except(b"\t", line, buffer);
        buffer.extend_from_slice(end);
    }
}

/// The same error with the name of the file.
pub(super) fn about(what: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {}", what.display(), SystemReason(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_keeps_its_form_and_loses_what_controls_a_terminal() {
        let mut buffer = b"before\x1b\n".to_vec();
        let start = buffer.len();
        buffer.extend_from_slice(b"a\tb\x1b[2J\r\nc\rd\xe9\x9b \xc3\xa9\x7f");
        escape(&mut buffer, start);
        let wanted = b"before\x1b\na\tb\\x1b[2J\r\nc\\x0dd\xe9\\x9b \xc3\xa9\\x7f";
        assert_eq!(buffer.escape_ascii().to_string(), wanted.escape_ascii().to_string());
    }
}
