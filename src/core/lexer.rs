//! How a line falls into words, and how a word is written so that it comes back the same.
//!
//! Words stand between blanks. A word that begins with `"` ends at the next `"`; inside it `\"` and `\\` stand for
//! themselves. A word that begins with `#` ends the line: it and the rest are a comment. A line never holds a line feed: what cannot be written on one line cannot be a word.

use super::Error;

/// Splits a line into its words.
///
/// # Errors
/// A quote that is not closed, a backslash before anything but `"` and `\`, text that touches a closing quote, and control characters.
pub fn split(line: &str) -> Result<Vec<String>, Error> {
    let line = line.strip_suffix('\n').unwrap_or(line);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.chars().any(|c| c.is_control() && c != '\t') {
        return Err(Error::new("a control character; allowed are printable characters, blanks and tabs"));
    }
    let mut words = Vec::new();
    let mut rest = line.trim_start_matches([' ', '\t']);
    while !rest.is_empty() && !rest.starts_with('#') {
        let (word, after) =
            if let Some(quoted) = rest.strip_prefix('"') { unquote(quoted)? } else { plain(rest) };
        words.push(word);
        rest = after.trim_start_matches([' ', '\t']);
    }
    Ok(words)
}

fn plain(text: &str) -> (String, &str) {
    let end = text.find([' ', '\t']).unwrap_or(text.len());
    (text[..end].to_owned(), &text[end..])
}

fn unquote(text: &str) -> Result<(String, &str), Error> {
    let mut word = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => {
                let after = &text[at + 1..];
                if after.starts_with([' ', '\t']) || after.is_empty() {
                    return Ok((word, after));
                }
                return Err(Error::new("text right behind a closing quote; allowed is a blank"));
            }
            '\\' => match chars.next() {
                Some((_, c @ ('"' | '\\'))) => word.push(c),
                _ => return Err(Error::new("a backslash in a quoted word; allowed are \\\" and \\\\")),
            },
            c => word.push(c),
        }
    }
    Err(Error::new("a quoted word that is not closed"))
}

/// A word as it must be written to be read back as it is.
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
        fn any_line_is_survived(line in ".*") {
            let _ = split(&line);
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
