//! Command lines parsed into plain structs, without input or output.

pub mod completions;
pub mod mergelogs;
pub mod pen;
pub mod penctl;
pub mod penlog;
pub mod penlogd;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use clap::{Arg, ArgAction};

use crate::core::error::unwritten_output;
use crate::core::{Error, one_line};

/// The options that every program of the log suite has.
fn information() -> [Arg; 2] {
    [
        Arg::new("help").short('h').long("help").action(ArgAction::Help).help("show this help"),
        Arg::new("version").short('V').long("version").action(ArgAction::Version).help("show the version"),
    ]
}

/// A word of a command line as text. Pen would look for other bytes than those that were given if it replaced any.
fn utf8(word: &OsStr) -> Result<String, Error> {
    let other = || Error::new(format!("expected UTF-8, got '{}'", word.as_bytes().escape_ascii()));
    word.to_str().map(str::to_owned).ok_or_else(other)
}

/// Why a command line is not run: it asks for a text, or it has errors.
#[derive(Debug, PartialEq, Eq)]
pub enum Stop {
    /// `--help` or `--version`: text for standard output.
    Text(String),
    /// Errors, one line each.
    Errors(Vec<String>),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        vec![error].into()
    }
}

impl From<Vec<Error>> for Stop {
    fn from(errors: Vec<Error>) -> Self {
        Stop::Errors(errors.iter().map(ToString::to_string).collect())
    }
}

impl From<clap::Error> for Stop {
    /// clap's error is a paragraph; its first line says what is wrong and where.
    fn from(error: clap::Error) -> Self {
        let text = error.render().to_string();
        if !error.use_stderr() {
            return Stop::Text(text);
        }
        let first = text.lines().next().unwrap_or_default();
        Stop::Errors(vec![format!("{}; see --help", first.strip_prefix("error: ").unwrap_or(first))])
    }
}

impl Stop {
    /// The lines to print: a text as it is, errors one line each, whatever they quote.
    pub fn lines(self) -> Vec<String> {
        match self {
            Stop::Text(text) => vec![text],
            Stop::Errors(errors) => errors.into_iter().map(one_line).collect(),
        }
    }

    /// Prints the text or the errors, and returns the exit status: 0 for a text, 1 if it cannot be written, 2 for errors.
    pub fn report(self, program: &str) -> std::process::ExitCode {
        use std::io::Write;
        match self {
            Stop::Text(text) => {
                let mut out = std::io::stdout();
                let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) else {
                    return std::process::ExitCode::SUCCESS;
                };
                if let Some(line) = unwritten_output(program, &error) {
                    _ = writeln!(std::io::stderr(), "{line}");
                }
                std::process::ExitCode::FAILURE
            }
            stop @ Stop::Errors(_) => {
                for error in stop.lines() {
                    _ = writeln!(std::io::stderr(), "{program}: {error}");
                }
                std::process::ExitCode::from(2)
            }
        }
    }
}
