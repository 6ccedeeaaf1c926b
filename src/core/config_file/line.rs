//! A command of a file or of an option, and where it is.

use crate::core::command::Command;
use crate::core::error::Place;

/// A command and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigLine {
    /// Its place.
    pub at: Place,
    /// The command.
    pub command: Command,
}

impl ConfigLine {
    /// The command that an option stands for.
    pub fn option(at: &str, command: Command) -> Self {
        ConfigLine { at: Place::Option(at.to_owned()), command }
    }
}
