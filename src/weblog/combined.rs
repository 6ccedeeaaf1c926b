//! A web server's log line in the common or combined format, and the key under which it meets pen's entry.
//!
//! `CLIENT IDENT USER [DATE] "REQUEST" STATUS BYTES ...`, the request escaped as Apache httpd does (`\"`, `\\`, `\t`,
//! `\xhh`; manual of mod_log_config, "Format Notes") or as nginx does (`\xHH`, log_format `escape=default`).

use std::ops::Range;

use memchr::memmem::find;
use memchr::{memchr, memchr2};

/// The parts of a line that matter here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebLine {
    /// How many bytes the client takes: the first word.
    pub client: usize,
    /// Where the date is, without its brackets.
    pub date: Option<Range<usize>>,
    /// Where the request is, without its quotes, as it is escaped.
    pub request: Range<usize>,
}

impl WebLine {
    /// Finds the parts of a line without its newline; `None` if it has no client or no request. A request whose
    /// closing quote is missing (the line was cut) goes to the end.
    pub fn parse(line: &[u8]) -> Option<WebLine> {
        let client = memchr(b' ', line).filter(|&n| n > 0)?;
        // The user may hold quotes and brackets of its own; a date is followed by the request.
        let (date, start) = match find(line, b"] \"") {
            Some(end) => {
                let date = line[..end].iter().rposition(|&b| b == b'[').map(|begin| begin + 1..end);
                (date, end + 3)
            }
            None => (None, client + memchr(b'"', &line[client..])? + 1),
        };
        Some(WebLine { client, date, request: start..start + request_length(&line[start..]) })
    }
}

/// How many bytes of `rest` are before the quote that ends the request: one not escaped, and followed by a blank or
/// nothing, since not every server escapes.
fn request_length(rest: &[u8]) -> usize {
    let mut at = 0;
    while let Some(n) = memchr2(b'"', b'\\', &rest[at..]) {
        let here = at + n;
        if rest[here] == b'\\' {
            at = (here + 2).min(rest.len());
        } else if matches!(rest.get(here + 1), None | Some(b' ')) {
            return here;
        } else {
            at = here + 1;
        }
    }
    rest.len()
}

/// Appends at most `most` bytes of a request to `out`, the escapes undone and each byte as `map` makes it: the form in
/// which requests of pen's log and of web servers' logs are equal.
pub fn unescape(request: &[u8], map: impl Fn(u8) -> u8, most: usize, out: &mut Vec<u8>) {
    let end = out.len() + most;
    let mut rest = request;
    while out.len() < end {
        let plain = memchr(b'\\', rest).unwrap_or(rest.len()).min(end - out.len());
        out.extend(rest[..plain].iter().map(|&b| map(b)));
        rest = &rest[plain..];
        if out.len() == end || rest.is_empty() {
            return;
        }
        let (byte, length) = escape(rest);
        out.push(map(byte));
        rest = &rest[length..];
    }
}

/// The byte that an escape at the start of `text` stands for, and its length. Anything unknown is a plain backslash.
fn escape(text: &[u8]) -> (u8, usize) {
    let hex = |b: u8| char::from(b).to_digit(16).map(|d| d as u8);
    match *text {
        [_, b'x', high, low, ..] => match (hex(high), hex(low)) {
            (Some(high), Some(low)) => (high << 4 | low, 4),
            _ => (b'\\', 1),
        },
        [_, c @ (b'"' | b'\\'), ..] => (c, 2),
        [_, b'b', ..] => (8, 2),
        [_, b't', ..] => (b'\t', 2),
        [_, b'n', ..] => (b'\n', 2),
        [_, b'v', ..] => (11, 2),
        [_, b'f', ..] => (12, 2),
        [_, b'r', ..] => (b'\r', 2),
        _ => (b'\\', 1),
    }
}

#[cfg(test)]
mod tests {
    use super::super::line::{file_byte, wire_byte};
    use super::*;
    use proptest::prelude::*;

    /// As Apache writes a request (ap_escape_logitem's documented result).
    fn apache(raw: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for &b in raw {
            match b {
                b'"' | b'\\' => out.extend([b'\\', b]),
                b'\n' => out.extend(b"\\n"),
                b'\t' => out.extend(b"\\t"),
                b if b == b' ' || b.is_ascii_graphic() => out.push(b),
                b => out.extend(format!("\\x{b:02x}").bytes()),
            }
        }
        out
    }

    fn nginx(raw: &[u8]) -> Vec<u8> {
        let plain = |b: u8| (b == b' ' || b.is_ascii_graphic()) && b != b'"' && b != b'\\';
        raw.iter()
            .flat_map(|&b| if plain(b) { vec![b] } else { format!("\\x{b:02X}").into_bytes() })
            .collect()
    }

    fn parts(line: &str) -> Option<(&str, Option<&str>, &str)> {
        let web = WebLine::parse(line.as_bytes())?;
        Some((&line[..web.client], web.date.map(|d| &line[d]), &line[web.request]))
    }

    #[test]
    fn common_and_combined() {
        let common = r#"9.9.9.9 - - [10/Oct/2000:13:55:36 +0300] "GET /a HTTP/1.0" 200 2326"#;
        let found = Some(("9.9.9.9", Some("10/Oct/2000:13:55:36 +0300"), "GET /a HTTP/1.0"));
        assert_eq!(parts(common), found);
        assert_eq!(parts(&format!(r#"{common} "http://r/" "UA \"1\"""#)), found);
        assert_eq!(parts(r#"::1 - "" [d] "GET /" 400 0"#), Some(("::1", Some("d"), "GET /")));
        assert_eq!(parts(r#"::1 - a[b]"c [d] "GET /" 400 0"#), Some(("::1", Some("d"), "GET /")));
    }

    #[test]
    fn quotes_escaped_or_not() {
        let line = |request: &str| format!(r#"a - - [d] "{request}" 200 1 "ref" "ua""#);
        for request in
            [r#"GET /\"x\" HTTP/1.0"#, r#"GET /q"x HTTP/1.0"#, r"GET /\\", r"GET /\x22 HTTP/1.0", "", "-"]
        {
            assert_eq!(parts(&line(request)), Some(("a", Some("d"), request)));
        }
        assert_eq!(parts(r#"a - - [d] "GET /cut..."#), Some(("a", Some("d"), "GET /cut...")));
        assert_eq!(parts(r#"a - - [d] "GET /cut\"#), Some(("a", Some("d"), r"GET /cut\")));
        assert_eq!(parts(r#"a "GET / HTTP/1.0" 200"#), Some(("a", None, "GET / HTTP/1.0")));
        for bad in ["", " ", "garbage", "no request", " \"x\""] {
            assert_eq!(parts(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_servers_escape_is_what_pen_saw(raw: Vec<u8>, most in 0_usize..40) {
            for map in [file_byte, wire_byte] {
                let wanted: Vec<u8> = raw.iter().take(most).map(|&b| map(b)).collect();
                for escaped in [apache(&raw), nginx(&raw)] {
                    let mut line = b"1.2.3.4 - - [d] \"".to_vec();
                    line.extend(&escaped);
                    line.extend(b"\" 200 1");
                    let web = WebLine::parse(&line).unwrap();
                    prop_assert_eq!(&line[web.request.clone()], &escaped[..]);
                    let mut out = Vec::new();
                    unescape(&line[web.request], map, most, &mut out);
                    prop_assert_eq!(&out, &wanted);
                }
            }
        }

        #[test]
        fn any_bytes_are_survived(line: Vec<u8>, most in 0_usize..600) {
            if let Some(web) = WebLine::parse(&line) {
                let mut out = Vec::new();
                unescape(&line[web.request], file_byte, most, &mut out);
                prop_assert!(out.len() <= most);
            }
        }
    }
}
