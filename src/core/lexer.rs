//! Splits a line into words, and quotes a word so that it is read back unchanged.
//!
//! Words are separated by blanks. A word that begins with `"` ends at the next `"` without a backslash before it;
//! inside it `\"` and `\\` stand for `"` and `\`. A word that begins with `#` starts a comment up to the end of the
//! line. A line never contains a line feed, so no word does. Some settings take bytes, which have more escapes.

use std::borrow::Cow;

use super::Error;

/// A line of commands as text. A comment behind the words may contain any bytes.
///
/// # Errors
/// There are words that are not UTF-8.
pub fn text_of(line: &[u8]) -> Result<Cow<'_, str>, Error> {
    let text = String::from_utf8_lossy(line);
    let is_replaced = |word: &Word| word.holds('\u{fffd}');
    if std::str::from_utf8(line).is_err() && words(&text).is_ok_and(|words| words.iter().any(is_replaced)) {
        let got = line.escape_ascii().to_string();
        return Err(Error::new(format!("expected UTF-8 outside of comments, got {got}")));
    }
    Ok(text)
}

/// A word as it is written in a line. The meaning of its backslashes depends on the reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// The word as written, without the quotes around it.
    raw: String,
    quoted: bool,
}

impl Word {
    /// A word without quotes.
    pub fn plain(text: &str) -> Self {
        Word { raw: text.to_owned(), quoted: false }
    }

    /// Whether the word contains the character.
    pub fn holds(&self, c: char) -> bool {
        self.raw.contains(c)
    }

    /// The word as text. A backslash stands for itself, except in a quoted word, where only `\"` and `\\` are allowed.
    ///
    /// # Errors
    /// Any other backslash in a quoted word.
    pub fn text(&self) -> Result<String, Error> {
        if !self.quoted {
            return Ok(self.raw.clone());
        }
        let mut text = String::with_capacity(self.raw.len());
        let mut chars = self.raw.chars();
        while let Some(c) = chars.next() {
            match (c, if c == '\\' { chars.next() } else { None }) {
                ('\\', Some(c @ ('"' | '\\'))) => text.push(c),
                ('\\', _) => {
                    return Err(Error::new("a backslash in a quoted word; expected \\\" or \\\\"));
                }
                (c, _) => text.push(c),
            }
        }
        Ok(text)
    }

    /// The word as bytes: `\r`, `\n`, `\t`, `\"`, `\\` and `\xHH` stand for one byte each, quoted or not.
    ///
    /// # Errors
    /// Any other backslash.
    pub fn bytes(&self) -> Result<Vec<u8>, Error> {
        let bad = || {
            let expected = "\\r, \\n, \\t, \\\", \\\\ or \\xHH";
            Error::new(format!("a backslash in '{}'; expected {expected}", self.raw))
        };
        let mut bytes = Vec::with_capacity(self.raw.len());
        let mut rest = self.raw.bytes();
        while let Some(byte) = rest.next() {
            let byte = match byte {
                b'\\' => match rest.next() {
                    Some(b'r') => b'\r',
                    Some(b'n') => b'\n',
                    Some(b't') => b'\t',
                    Some(byte @ (b'"' | b'\\')) => byte,
                    Some(b'x') => {
                        let mut digit = || rest.next().and_then(|b| char::from(b).to_digit(16));
                        match (digit(), digit()) {
                            (Some(high), Some(low)) => u8::try_from(high * 16 + low).map_err(|_| bad())?,
                            _ => return Err(bad()),
                        }
                    }
                    _ => return Err(bad()),
                },
                byte => byte,
            };
            bytes.push(byte);
        }
        Ok(bytes)
    }
}

/// Splits a line into its words, each a text.
///
/// # Errors
/// As [`words`] and [`Word::text`].
pub fn split(line: &str) -> Result<Vec<String>, Error> {
    words(line)?.iter().map(Word::text).collect()
}

/// Splits a line into its words.
///
/// # Errors
/// A quote that is not closed, text that touches a closing quote, and control characters outside of comments.
pub fn words(line: &str) -> Result<Vec<Word>, Error> {
    let line = line.strip_suffix('\n').unwrap_or(line);
    let line = line.strip_suffix('\r').unwrap_or(line);
    let mut words = Vec::new();
    let mut rest = line.trim_start_matches([' ', '\t']);
    while !rest.is_empty() && !rest.starts_with('#') {
        let (word, after) = match rest.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let (word, after) = rest.split_at(rest.find([' ', '\t']).unwrap_or(rest.len()));
                (Word::plain(word), after)
            }
        };
        if word.raw.contains(|c: char| c.is_control() && c != '\t') {
            return Err(Error::new("a control character; expected printable characters, blanks and tabs"));
        }
        words.push(word);
        rest = after.trim_start_matches([' ', '\t']);
    }
    Ok(words)
}

/// Reads a word up to its closing quote.
fn unquote(text: &str) -> Result<(Word, &str), Error> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            '"' if !escaped => {
                let after = &text[at + 1..];
                if after.starts_with([' ', '\t']) || after.is_empty() {
                    return Ok((Word { raw: text[..at].to_owned(), quoted: true }, after));
                }
                return Err(Error::new("text right behind a closing quote; expected a blank"));
            }
            c => escaped = c == '\\' && !escaped,
        }
    }
    Err(Error::new("a quoted word that is not closed"))
}

/// Text as it must be written to be read back unchanged.
pub fn quote(word: &str) -> String {
    if !word.is_empty() && !word.starts_with(['"', '#']) && !word.contains([' ', '\t']) {
        return word.to_owned();
    }
    let mut quoted = String::with_capacity(word.len() + 2);
    quoted.push('"');
    for c in word.chars() {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

/// Bytes as they must be written to be read back by [`Word::bytes`].
pub fn escape(bytes: &[u8]) -> String {
    let mut word = String::with_capacity(bytes.len() + 2);
    for &byte in bytes {
        match byte {
            b'\r' => word.push_str("\\r"),
            b'\n' => word.push_str("\\n"),
            b'\t' => word.push_str("\\t"),
            b'"' | b'\\' => word.extend(['\\', char::from(byte)]),
            b' '..=b'~' => word.push(char::from(byte)),
            byte => word.push_str(&format!("\\x{byte:02x}")),
        }
    }
    if word.is_empty() || word.starts_with('#') || word.contains(' ') { format!("\"{word}\"") } else { word }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_quoted_comes_back(words in prop::collection::vec("[ -~\u{e9}]{0,12}", 0..6)) {
            let line = words.iter().map(|w| quote(w)).collect::<Vec<_>>().join(" \t");
            prop_assert_eq!(split(&line), Ok(words));
        }

        #[test]
        fn bytes_come_back(bytes in prop::collection::vec(any::<u8>(), 0..12)) {
            let line = format!("{} next", escape(&bytes));
            let words = words(&line).unwrap();
            prop_assert_eq!(words.len(), 2, "{}", line);
            prop_assert_eq!(words[0].bytes(), Ok(bytes));
        }

        #[test]
        fn any_line_is_survived(line in ".*") {
            let _ = split(&line);
            words(&line).into_iter().flatten().for_each(|word| _ = word.bytes());
        }
    }

    #[test]
    fn bad_quotes_are_errors() {
        for line in ["log \"a", "log \"a\"b", "log \"a\\n\"", "log a\u{1}"] {
            assert!(split(line).is_err(), "{line}");
        }
        assert_eq!(split(" a\tb \r\n"), Ok(vec!["a".into(), "b".into()]));
        assert_eq!(split("a#b # c"), Ok(vec!["a#b".into()]));
    }
}
