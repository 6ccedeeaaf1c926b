//! The server that a command refers to: by number or by name.

use crate::core::Error;
use crate::core::addr::Services;
use crate::core::lexer::Word;
use crate::core::settings::{FieldType, ValueKind};
use std::fmt;

/// The highest slot number plus one; a higher number is more likely a typing error than a server.
pub const SERVERS_MAX: usize = 65_536;

const NUMBER: ValueKind = ValueKind::Number { min: 0, max: SERVERS_MAX as u64 - 1, unit: "a server" };

/// A server as a command refers to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerRef {
    /// By the number of its slot.
    Slot(usize),
    /// By its name.
    Name(String),
}

impl ServerRef {
    /// Parses a number or a name. A name begins with a letter, so it is never taken for a number.
    ///
    /// # Errors
    /// The word, and what was expected.
    pub fn parse(word: &str) -> Result<Self, Error> {
        let word = Word::plain(word);
        if let Ok(value) = NUMBER.parse(&word, &Services::default()) {
            let mut n = 0_usize;
            n.assign(&value);
            return Ok(ServerRef::Slot(n));
        }
        match ValueKind::Name.parse(&word, &Services::default()) {
            Ok(name) => Ok(ServerRef::Name(name.to_string())),
            Err(_) => Err(Error::expected(Self::expected(), word.text()?)),
        }
    }

    /// What is expected, for errors.
    pub fn expected() -> String {
        format!("{} or the name of one", NUMBER.expected())
    }
}

impl fmt::Display for ServerRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServerRef::Slot(n) => n.fmt(f),
            ServerRef::Name(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_or_a_name() {
        assert_eq!(ServerRef::parse("7"), Ok(ServerRef::Slot(7)));
        assert_eq!(ServerRef::parse("web-1.a_b"), Ok(ServerRef::Name("web-1.a_b".into())));
        for bad in ["", "65536", "1web", "-1", "a b", "\u{e9}", &"a".repeat(65)] {
            let error = ServerRef::parse(bad).unwrap_err().to_string();
            let expected = "expected a number from 0 to 65535 (a server) or the name of one, got";
            assert_eq!(error, format!("{expected} '{bad}'"));
        }
    }
}
