//! Errors with a description of the operation.

use std::fmt::Display;
use std::io;

/// The same kind of error, with the operation in front of its text.
pub(super) fn context(what: impl Display, error: impl Into<io::Error>) -> io::Error {
    let error = error.into();
    io::Error::new(error.kind(), format!("{what}: {error}"))
}
