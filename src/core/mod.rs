//! The balancer as pure code: no sockets, no clock, no randomness, no tokio. Time and seeds are passed in.

pub mod acl;
pub mod addr;
pub mod admission;
pub mod affinity;
pub mod backend;
pub mod command;
pub mod config;
pub mod config_file;
pub mod flow_table;
pub mod hash;
pub mod http;
pub mod lexer;
pub mod number_set;
pub mod report;
pub mod select;
pub mod settings;
pub mod snapshot;
pub mod traffic;

/// A bad word, address or command: one line that names what was given and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(String);

impl Error {
    /// An error with this text; what it quotes may hold anything, and it is one line all the same.
    pub fn new(text: impl Into<String>) -> Self {
        Error(one_line(text.into()))
    }

    /// The same error, found while reading `what`.
    #[must_use]
    pub fn of(self, what: &str) -> Self {
        Error(format!("{what}: {}", self.0))
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// A text as one printable line: control characters, line ends among them, stand as their escapes.
pub fn one_line(text: String) -> String {
    if !text.contains(char::is_control) {
        return text;
    }
    let escaped = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escaped).collect()
}

/// Milliseconds on a clock that never goes back, from an origin the caller chose.
pub type Millis = u64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_whatever_it_quotes() {
        let error = Error::new("'a\nb\u{1b}\u{e9}' is not a port");
        assert_eq!(error.to_string(), "'a\\nb\\u{1b}\u{e9}' is not a port");
    }
}
