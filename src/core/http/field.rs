//! One field of a head (RFC 9112, section 5).

use std::borrow::Cow;

use super::lines::HeadLine;
use super::request_line::is_token;

/// One field.
#[derive(Debug)]
pub(super) struct HeaderField<'a> {
    pub(super) name: &'a [u8],
    /// Unfolded, without surrounding white space.
    pub(super) value: Cow<'a, [u8]>,
}

impl<'a> HeaderField<'a> {
    /// Reads a line after the first one; `None` if servers do not agree on its meaning: no colon, or a name that is
    /// empty or contains white space or control characters.
    pub(super) fn read(line: &HeadLine<'a>) -> Option<Self> {
        let colon = memchr::memchr(b':', line.text)?;
        let name = line.text.get(..colon)?;
        if name.is_empty() || name.iter().any(|byte| byte.is_ascii_control() || *byte == b' ') {
            return None;
        }
        let value = match line.unfolded() {
            Cow::Borrowed(text) => Cow::Borrowed(trim(text.get(colon + 1..)?)),
            Cow::Owned(text) => Cow::Owned(trim(text.get(colon + 1..)?).to_vec()),
        };
        Some(HeaderField { name, value })
    }

    /// Whether its name is a token (RFC 9110, section 5.6.2). Some servers take the head for over where it is none.
    pub(super) fn is_regular(&self) -> bool {
        self.name.iter().copied().all(is_token)
    }

    /// Whether it has this name, given in lower case.
    pub(super) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// The items of its value, a comma-separated list.
    pub(super) fn items(&self) -> impl Iterator<Item = &[u8]> {
        self.value.split(|byte| *byte == b',').map(trim).filter(|item| !item.is_empty())
    }
}

fn trim(value: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().position(|byte| !is_blank(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !is_blank(byte)).map_or(start, |last| last + 1);
    value.get(start..end).unwrap_or_default()
}
