//! Standard output of penctl: what cannot be written there is an error.

use std::io::{self, Write};

use crate::core::error::unwritten_output;

/// Writes `text` to standard output.
///
/// # Errors
/// It cannot be written; why has been reported on standard error.
pub(super) fn print(text: impl AsRef<[u8]>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_ref()).and_then(|()| out.flush());
    if let Some(line) = written.as_ref().err().and_then(|error| unwritten_output("penctl", error)) {
        // Where an error of standard error could be reported, there is nothing left.
        _ = writeln!(io::stderr(), "{line}");
    }
    written
}
