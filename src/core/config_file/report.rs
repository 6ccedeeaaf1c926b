//! All that is wrong with lines and with the configuration that they make, in the order of the lines.

use super::bounded::Bounded;
use super::line_index::LineIndex;
use super::loader::FileLines;
use crate::core::config::{CHECK_NAME, SERVER_NAME};
use crate::core::error::{Error, Fault, Place};
use std::collections::BTreeSet;

/// The position of an error that no line has caused: behind all others.
const LAST: usize = usize::MAX;

/// The errors found so far.
#[derive(Debug, Default, Clone)]
pub struct ErrorReport {
    errors: Bounded,
    /// The checks and servers that refused lines would have added, in their words: using them is no further error.
    refused: BTreeSet<String>,
    /// Whether lines are missing, since a file could not be read or has too many errors.
    is_incomplete: bool,
    /// How much was not read.
    rest: Option<Error>,
}

impl ErrorReport {
    /// Adds what is wrong with the lines of a file; `from` is the number of lines before them.
    pub fn read(&mut self, file: &FileLines, from: usize) {
        for line in &file.refused {
            self.errors.push(2 * (from + line.at), line.error.clone());
            self.refused.extend(line.names.iter().cloned());
        }
        self.is_incomplete |= !file.is_complete;
        self.rest = self.rest.take().or_else(|| file.rest.clone());
    }

    /// Adds an error of the line with this number.
    pub fn line(&mut self, n: usize, error: Error) {
        if !self.follows(&error) {
            self.errors.push(2 * n + 1, error);
        }
    }

    /// Adds an error at the place that it has, before all lines.
    pub fn first(&mut self, error: Error) {
        self.errors.push(0, error);
    }

    /// Adds errors in the configuration as a whole, each at the line that it is about, or at `file`.
    pub fn whole(&mut self, errors: impl IntoIterator<Item = Error>, index: &LineIndex, file: Option<&str>) {
        let lacks_servers = self.is_incomplete || self.refused.iter().any(|name| name.starts_with("server "));
        for error in errors.into_iter().filter(|error| !self.follows(error)).collect::<Vec<_>>() {
            match (index.position(&error), file) {
                (Some(n), _) => self.errors.push(2 * n + 1, index.place(error)),
                // That nobody would be served, for example: nobody knows that before these lines are mended.
                (None, _) if lacks_servers => {}
                (None, Some(file)) => self.errors.push(LAST, error.at(&Place::File(file.into()))),
                (None, None) => self.errors.push(LAST, error),
            }
        }
    }

    /// Adds what another report about the same lines has found in addition.
    pub fn merge(&mut self, other: ErrorReport) {
        self.errors.merge(other.errors);
    }

    /// Whether the error is only that a check or a server lacks that another error is about.
    fn follows(&self, error: &Error) -> bool {
        let Fault::Unexpected { expected, got } = error.fault() else { return false };
        let kind = match () {
            () if expected.starts_with(CHECK_NAME) => "check",
            () if expected.starts_with(SERVER_NAME) => "server",
            () => return false,
        };
        self.is_incomplete || self.refused.contains(&format!("{kind} {got}"))
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    /// All errors, the first hundred one by one.
    pub fn into_errors(self) -> Vec<Error> {
        let mut errors = self.errors.into_shown("errors");
        errors.extend(self.rest);
        errors
    }
}
