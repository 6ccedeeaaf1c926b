//! Errors in words, commands, files and attempts: the place, the subject, and what was expected.

use std::fmt;
use std::io;
use std::sync::Arc;

/// The place of an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// An option of the command line, as it was given.
    Option(String),
    /// A server among the operands of the command line.
    Operand(String),
    /// A file as a whole.
    File(Arc<str>),
    /// A line of a file, counted from 1.
    Line(Arc<str>, usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Option(option) => f.write_str(option),
            Place::Operand(operand) => write!(f, "server '{operand}'"),
            Place::File(file) => f.write_str(file),
            Place::Line(file, line) => write!(f, "{file}:{line}"),
        }
    }
}

/// The kind of an error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A word that was not expected.
    #[error("expected {expected}, got '{got}'")]
    Unexpected {
        /// What was expected.
        expected: String,
        /// The word.
        got: String,
    },
    /// A word is missing.
    #[error("expected {expected}, got nothing")]
    Missing {
        /// What was expected.
        expected: String,
    },
    /// A word after a complete command.
    #[error("'{word}' is one word too many")]
    Extra {
        /// The word.
        word: String,
    },
    /// The first word of a line is not a command.
    #[error("'{word}' is not a command; {}see penctl(1)", meant(.nearest))]
    UnknownCommand {
        /// The word.
        word: String,
        /// Commands with a similar spelling.
        nearest: Vec<&'static str>,
    },
    /// A command of the language that this pen does not support.
    #[error("not available in this pen")]
    Unavailable,
    /// A setting that cannot change while pen runs.
    #[error("a change needs a restart of pen")]
    NeedsRestart,
    /// A query or an action where a setting is expected.
    #[error("'{0}' is for the control socket; expected a setting")]
    NotASetting(String),
    /// The system or a library refused. The text names the operation, unless the source does.
    #[error("{0}")]
    Failed(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// The end of a sentence that suggests `nearest`; empty without any.
pub fn meant(nearest: &[&str]) -> String {
    if nearest.is_empty() { String::new() } else { format!("nearest: {}; ", nearest.join(", ")) }
}

type ErrorSource = Arc<dyn std::error::Error + Send + Sync>;

/// One error. Its text is a single line, whatever it quotes.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", self.line())]
pub struct Error(Box<ErrorParts>);

#[derive(Debug, Clone)]
struct ErrorParts {
    place: Option<Place>,
    subject: Option<String>,
    /// What it is about, in the words of a subject, if the text says that in another way.
    topic: Option<String>,
    fault: Fault,
    source: Option<ErrorSource>,
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Error(Box::new(ErrorParts { place: None, subject: None, topic: None, fault, source: None }))
    }
}

/// An error of the system that names its operation itself.
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Error::failed("", error)
    }
}

impl Error {
    /// An error with a text of its own.
    pub fn new(text: impl Into<String>) -> Self {
        Fault::Other(text.into()).into()
    }

    /// A word that is not the expected one.
    pub fn expected(expected: impl Into<String>, got: impl Into<String>) -> Self {
        Fault::Unexpected { expected: expected.into(), got: got.into() }.into()
    }

    /// A missing word.
    pub fn missing(expected: impl Into<String>) -> Self {
        Fault::Missing { expected: expected.into() }.into()
    }

    /// An extra word.
    pub fn extra(word: impl Into<String>) -> Self {
        Fault::Extra { word: word.into() }.into()
    }

    /// A refusal by the system or a library.
    pub fn failed(what: impl Into<String>, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        let mut error = Error::from(Fault::Failed(what.into()));
        error.0.source = Some(Arc::new(source));
        error
    }

    /// The same error about `subject`, a setting or the words of a command; an error that has a subject keeps it.
    #[must_use]
    pub fn of(mut self, subject: &str) -> Self {
        self.0.subject.get_or_insert_with(|| subject.to_owned());
        self
    }

    /// The same error, caused by the line about `topic`, which its text does not begin with.
    #[must_use]
    pub fn about(mut self, topic: &str) -> Self {
        self.0.topic.get_or_insert_with(|| topic.to_owned());
        self
    }

    /// The same error at `place`; an error that has a place keeps it.
    #[must_use]
    pub fn at(mut self, place: &Place) -> Self {
        self.0.place.get_or_insert_with(|| place.clone());
        self
    }

    /// The place.
    pub fn place(&self) -> Option<&Place> {
        self.0.place.as_ref()
    }

    /// What the line that has caused it is about: the one of [`Error::about`], or else the subject.
    pub fn topic(&self) -> Option<&str> {
        self.0.topic.as_deref().or(self.0.subject.as_deref())
    }

    /// The kind of error.
    pub fn fault(&self) -> &Fault {
        &self.0.fault
    }

    fn line(&self) -> String {
        let ErrorParts { place, subject, fault, source, .. } = &*self.0;
        let mut line = String::new();
        let parts = [place.as_ref().map(ToString::to_string), subject.clone(), Some(fault.to_string())];
        let source = source.as_ref().map(|source| without_number(&source.to_string()).to_owned());
        let parts = parts.into_iter().flatten().chain(source);
        for part in parts.filter(|part| !part.is_empty()) {
            if !line.is_empty() {
                line.push_str(": ");
            }
            line.push_str(&part);
        }
        one_line(line)
    }
}

/// Two errors are equal when their texts are.
impl PartialEq for Error {
    fn eq(&self, other: &Self) -> bool {
        self.line() == other.line()
    }
}

impl Eq for Error {}

/// An error of the system as text, without the number that the standard library appends: numbers are for debug
/// messages.
#[derive(Debug)]
pub struct SystemReason<'a>(pub &'a io::Error);

impl fmt::Display for SystemReason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(without_number(&self.0.to_string()))
    }
}

fn without_number(text: &str) -> &str {
    let is_number = |text: &str| text.strip_suffix(')').is_some_and(|n| n.parse::<i32>().is_ok());
    match text.rsplit_once(" (os error ") {
        Some((words, number)) if is_number(number) => words,
        _ => text,
    }
}

/// What `program` reports when its standard output cannot be written; nothing when the reader is gone, whom nothing is
/// kept from.
pub fn unwritten_output(program: &str, error: &io::Error) -> Option<String> {
    let is_fault = error.kind() != io::ErrorKind::BrokenPipe;
    is_fault.then(|| format!("{program}: standard output: {}", SystemReason(error)))
}

/// A text as one printable line: control characters, including line ends, are escaped.
pub fn one_line(text: String) -> String {
    if !text.contains(char::is_control) {
        return text;
    }
    let escaped = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_whatever_it_quotes() {
        let error =
            Error::expected("a port", "a\nb\u{1b}\u{e9}").of("listen").at(&Place::Line("f".into(), 3));
        assert_eq!(error.to_string(), "f:3: listen: expected a port, got 'a\\nb\\u{1b}\u{e9}'");
    }

    #[test]
    fn the_first_subject_and_place_stay() {
        let error = Error::missing("a file").of("include").of("other");
        let error = error.at(&Place::Option("-O".into())).at(&Place::File("f".into()));
        assert_eq!(error.to_string(), "-O: include: expected a file, got nothing");
    }

    #[test]
    fn what_the_system_refused_is_told_with_its_reason() {
        let error = Error::failed("/x cannot be read", io::Error::other("why not")).of("include");
        assert_eq!(error.to_string(), "include: /x cannot be read: why not");
        assert_eq!(std::error::Error::source(&error).map(ToString::to_string), None);
        let error = Error::from(io::Error::from_raw_os_error(2)).of("user");
        assert_eq!(error.to_string(), "user: No such file or directory");
    }

    #[test]
    fn the_system_s_reason_has_no_number() {
        let error = io::Error::from_raw_os_error(28);
        assert!(error.to_string().contains("os error"));
        assert_eq!(SystemReason(&error).to_string(), "No space left on device");
        for text in ["connect timed out", "too late (by far)", "/x (os error y)"] {
            assert_eq!(SystemReason(&io::Error::other(text)).to_string(), text);
        }
    }
}
