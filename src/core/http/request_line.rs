//! The first line of a request (RFC 9112, section 3), by which HTTP is told from other protocols.

use super::refusal::RequestRefusal;

/// The longest method that is waited for, in bytes; a longer first word belongs to another protocol.
const MAX_METHOD: usize = 128;

/// The version, which determines how the body of a request is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HttpVersion {
    /// HTTP/1.1 or a later HTTP/1.
    Http11,
    /// HTTP/1.0, and words that are no version of HTTP/1 although some servers accept them: `http/1.1`, `HTTP/2.0`. No
    /// transfer coding is certain there.
    Other,
}

/// The parts of a request line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RequestLine<'a> {
    pub(super) method: &'a [u8],
    pub(super) target: &'a [u8],
    pub(super) version: HttpVersion,
}

impl<'a> RequestLine<'a> {
    /// Reads a line; `None` if it is not HTTP.
    ///
    /// # Errors
    /// It is HTTP, but the request has no head in which pen could name the client (HTTP/0.9), or servers read the line
    /// in different ways.
    pub(super) fn read(line: &'a [u8]) -> Result<Option<Self>, RequestRefusal> {
        let Some(at) = find_version(line) else {
            return if is_simple(line) { Err(RequestRefusal::RequestLine) } else { Ok(None) };
        };
        // The preface of HTTP/2 (RFC 9113, section 3.4): pen reads HTTP/1 only.
        if line == b"PRI * HTTP/2.0" {
            return Ok(None);
        }
        let (before, version) = line.split_at_checked(at).unwrap_or((line, &[]));
        let mut words = words(before);
        let (Some(method), Some(target)) = (words.next(), words.next()) else {
            return Err(RequestRefusal::RequestLine);
        };
        if !may_begin(method) {
            return Err(RequestRefusal::RequestLine);
        }
        let version = read_version(trim(version)).ok_or(RequestRefusal::RequestLine)?;
        Ok(Some(RequestLine { method, target, version }))
    }
}

/// Whether bytes without a line end may be the beginning of a request line.
pub(super) fn may_begin(part: &[u8]) -> bool {
    let part = match part.iter().position(|byte| !is_space(*byte)) {
        Some(at) => part.get(at..).unwrap_or_default(),
        None => return true,
    };
    let method = part.iter().take_while(|byte| is_token(**byte)).count();
    method <= MAX_METHOD && part.get(method).is_none_or(|byte| method > 0 && is_space(*byte))
}

/// Whether a line that lacks its version, because it is too long or cut off, is HTTP.
pub(super) fn resembles_request(part: &[u8]) -> bool {
    let mut words = words(part);
    matches!((words.next(), words.next()), (Some(method), Some(target)) if asks_for(method, target))
}

/// The last bytes of a first line that does not begin like a request, as far as it has been passed on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tail([u8; VERSION.len() + 1]);

impl Tail {
    /// Reads more of the line. Returns whether it names a version of HTTP after all.
    pub(super) fn names_version(&mut self, more: &[u8]) -> bool {
        let joined = [&self.0, more.get(..more.len().min(self.0.len())).unwrap_or_default()].concat();
        if let Some(last) = more.last_chunk() {
            self.0 = *last;
        } else if let Some(last) = joined.last_chunk() {
            self.0 = *last;
        }
        find_version(&joined).or_else(|| find_version(more)).is_some()
    }
}

const VERSION: &[u8] = b"HTTP/";

/// Where a word begins that looks like a version of HTTP: `HTTP/`, in any case, and a digit.
fn find_version(line: &[u8]) -> Option<usize> {
    let is_version = |at: usize| {
        let word = line.get(at..).and_then(|rest| rest.split_at_checked(VERSION.len()));
        let after_space = at.checked_sub(1).and_then(|before| line.get(before)).is_some_and(|b| is_space(*b));
        after_space
            && word.is_some_and(|(name, rest)| {
                name.eq_ignore_ascii_case(VERSION) && rest.first().is_some_and(u8::is_ascii_digit)
            })
    };
    memchr::memchr_iter(b'/', line).filter_map(|at| at.checked_sub(4)).find(|at| is_version(*at))
}

/// Reads `HTTP/x.y`.
fn read_version(word: &[u8]) -> Option<HttpVersion> {
    let (name, number) = word.split_at_checked(VERSION.len())?;
    let dot = memchr::memchr(b'.', number)?;
    let (major, minor) = (number.get(..dot)?, number.get(dot + 1..)?);
    let is_number = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    match (is_number(major) && is_number(minor), major, minor) {
        (false, ..) | (_, b"0", _) => None,
        (_, b"1", b"0") => Some(HttpVersion::Other),
        (_, b"1", _) if name == VERSION => Some(HttpVersion::Http11),
        _ => Some(HttpVersion::Other),
    }
}

/// Whether a line is a request of HTTP/0.9, or one that some servers accept as such: `GET` and any word, or another method
/// and a path or URI.
fn is_simple(line: &[u8]) -> bool {
    let mut words = words(line);
    let (Some(method), Some(target), None) = (words.next(), words.next(), words.next()) else { return false };
    asks_for(method, target)
}

/// Whether two words may be a method and its target.
fn asks_for(method: &[u8], target: &[u8]) -> bool {
    let is_path = target.starts_with(b"/") || memchr::memmem::find(target, b"://").is_some();
    method == b"GET" || (is_path && method.iter().all(u8::is_ascii_uppercase))
}

fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| is_space(*byte)).filter(|word| !word.is_empty())
}

fn trim(word: &[u8]) -> &[u8] {
    let end = word.iter().rposition(|byte| !is_space(*byte)).map_or(0, |last| last + 1);
    word.get(..end).unwrap_or_default()
}

/// A byte that some server accepts as a blank between the words of a request line (RFC 9112, section 3).
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | 0x0b | 0x0c)
}

/// Whether a byte may be part of a token (RFC 9110, section 5.6.2).
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Option<(&str, HttpVersion)>, RequestRefusal> {
        let line = RequestLine::read(line.as_bytes())?;
        Ok(line.map(|line| (std::str::from_utf8(line.method).unwrap(), line.version)))
    }

    #[test]
    fn what_any_server_serves_is_a_request() {
        for (line, method, version) in [
            ("GET / HTTP/1.1", "GET", HttpVersion::Http11),
            ("GET / HTTP/1.7", "GET", HttpVersion::Http11),
            ("POST  /a?b\u{e9}\tHTTP/1.0 ", "POST", HttpVersion::Other),
            (" brew /a b HTTP/1.1", "brew", HttpVersion::Http11),
            ("GET / http/1.1", "GET", HttpVersion::Other),
            ("GET / HTTP/2.0", "GET", HttpVersion::Other),
            ("GET / HTTP/01.1", "GET", HttpVersion::Other),
            ("GET /\u{1} HTTP/1.01", "GET", HttpVersion::Http11),
        ] {
            assert_eq!(read(line), Ok(Some((method, version))), "{line:?}");
        }
    }

    #[test]
    fn what_has_no_certain_head_is_refused() {
        for line in
            ["GET /", "GET admin", "POST \t/a ", "GET http://a/", "GET HTTP/1.1", "GET / HTTP/0.9", " GET /"]
        {
            assert_eq!(read(line), Err(RequestRefusal::RequestLine), "{line:?}");
        }
        for line in ["G\u{e9}T / HTTP/1.1", "\u{1}GET / HTTP/1.1", "GET: / HTTP/1.1"] {
            assert_eq!(read(line), Err(RequestRefusal::RequestLine), "{line:?}");
        }
        for line in ["GET / HTTP/1.1 x", "GET / HTTP/1.", "GET / HTTP/1.1 HTTP/1.1", "GET / HTTP/1"] {
            assert_eq!(read(line), Err(RequestRefusal::RequestLine), "{line:?}");
        }
    }

    #[test]
    fn other_protocols_are_not_http() {
        for line in
            ["", "GET", "get foo", "get /key", "EHLO a", "OPTIONS rtsp://a/ RTSP/1.0", "PRI * HTTP/2.0"]
        {
            assert_eq!(read(line), Ok(None), "{line:?}");
        }
        assert_eq!(read("\u{1}h2\u{8}http/1.1"), Ok(None), "a list of protocols in a ClientHello");
    }

    #[test]
    fn a_beginning_is_waited_for_while_it_may_be_a_request() {
        for part in ["", " ", "G", "GET", "M-SEARCH *", "GET /\u{e9}\u{1}", "\u{b}GET"] {
            assert!(may_begin(part.as_bytes()), "{part:?}");
        }
        for part in ["\u{16}\u{3}", "a:", "\u{e9}", "G\0", &"A".repeat(129)] {
            assert!(!may_begin(part.as_bytes()), "{part:?}");
        }
    }

    #[test]
    fn a_version_is_found_in_any_split() {
        let line = b"\x01GET / HTTP/1.1";
        for size in 1..=line.len() {
            let mut tail = Tail::default();
            assert!(line.chunks(size).any(|part| tail.names_version(part)), "in pieces of {size}");
        }
        assert!(!Tail::default().names_version(b"\x01h2\x08http/1.1\0"));
    }
}
