//! A line of a web server's log in the common or combined format, or a similar one, and the normal form in which its
//! request is compared with pen's.
//!
//! `CLIENT IDENT USER [DATE] "REQUEST" STATUS BYTES ...`, the request escaped as Apache httpd does (`\"`, `\\`, `\t`,
//! `\xhh`; manual of mod_log_config, "Format Notes") or as nginx does (`\xHH`, log_format `escape=default`). Other
//! fields may stand between these; the name of a virtual host may stand in front (Apache's `vhost_combined`), or what
//! syslog and collectors of logs add.

use std::net::IpAddr;
use std::ops::Range;

use memchr::{memchr, memchr2, memrchr};

/// The length of `[10/Oct/2000:13:55:36 +0300] `.
const USUAL: usize = 29;

/// The number of words that may stand in front of a client.
const PREFIX_WORDS: usize = 12;

/// The positions of the relevant parts of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLine {
    /// The client, by address or name.
    pub client: Range<usize>,
    /// The text in brackets, without them.
    pub date: Option<Range<usize>>,
    /// The escaped request, without its quotes.
    pub request: Range<usize>,
}

impl AccessLine {
    /// Parses a line without its newline; `None` if it does not begin with a client or has no request. A request whose
    /// closing quote is missing (the line was cut) extends to the end.
    pub fn parse(line: &[u8]) -> Option<AccessLine> {
        Self::parse_with(line, &mut Vec::new())
    }

    /// The same for a line that probably begins with `client`, an address followed by a blank. The client of this line
    /// is stored there for the next one.
    pub fn parse_with(line: &[u8], client: &mut Vec<u8>) -> Option<AccessLine> {
        // Most lines in other formats begin with a character that no client begins with, or contain no quote.
        if !matches!(line.first()?, b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b':' | b'-' | b'[' | b'"') {
            return None;
        }
        let quote = memchr(b'"', &line[1..])? + 1;
        if !client.is_empty() && line.starts_with(client) {
            return Self::find(line, 0..client.len() - 1, quote);
        }
        let found = find_client(line)?;
        client.clear();
        if found.start == 0 && line[found.end] == b' ' && is_address(&line[found.clone()]) {
            client.extend_from_slice(&line[..=found.end]);
        }
        Self::find(line, found, quote)
    }

    /// Finds the other parts; the first quote, except one at the beginning, is at `quote`.
    fn find(line: &[u8], client: Range<usize>, quote: usize) -> Option<AccessLine> {
        let (mut first_quote, mut brackets) = (None, BracketScanner::default());
        let (mut at, mut next) = (client.end, Some(quote).filter(|&quote| quote > client.end));
        // The user may contain quotes and brackets: the request is the first quoted part after a date.
        while let Some(quote) = next.take().or_else(|| memchr(b'"', &line[at..]).map(|n| at + n)) {
            brackets.look(line, at..quote);
            at = quote + 1;
            if !is_blank(line[quote - 1]) {
                continue;
            }
            if let Some(date) = brackets.last {
                let request = at..at + request_length(&line[at..]);
                return Some(AccessLine { client, date: Some(date), request });
            }
            first_quote = first_quote.or(Some(quote));
        }
        // No date precedes a quote: there may be one after the first quoted part.
        let start = first_quote? + 1;
        let request = start..start + request_length(&line[start..]);
        let rest = request.end;
        let date = memchr(b'[', &line[rest..])
            .map(|n| rest + n + 1)
            .and_then(|begin| memchr(b']', &line[begin..]).map(|length| begin..begin + length));
        Some(AccessLine { client, date, request })
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// The word of `line` that begins at `start`; `None` if the line ends with it.
fn word(line: &[u8], start: usize) -> Option<Range<usize>> {
    // Words are short: a search optimized for long ones takes longer.
    line.get(start..)?.iter().position(|&byte| is_blank(byte)).map(|length| start..start + length)
}

/// Finds the client: the first word, or one behind the name of a virtual host or another prefix.
fn find_client(line: &[u8]) -> Option<Range<usize>> {
    let mut client = word(line, 0)?;
    let quoted = matches!(line[client.clone()], [b'"', .., b'"']);
    if quoted {
        client = client.start + 1..client.end - 1;
    }
    match kind(&line[client.clone()])? {
        WordKind::Address | WordKind::Nobody => {}
        WordKind::Name if quoted => {}
        WordKind::Name => {
            if let Some(behind) = behind_prefix(line, &client) {
                client = behind;
            }
        }
        // The addresses that a request passed through, as in X-Forwarded-For.
        WordKind::List => loop {
            let next = word(line, client.end + 1)?;
            client.end = next.end;
            if !matches!(kind(&line[next])?, WordKind::List) {
                break;
            }
        },
    }
    Some(client)
}

/// The client of a line that begins with a word which may be one, and may be something that a log collector or the server
/// has put in front: the first address before the date, or the word behind the tag of syslog, which ends with a colon.
fn behind_prefix(line: &[u8], first: &Range<usize>) -> Option<Range<usize>> {
    let (mut at, mut tagged, mut named) = (first.end, line[first.clone()].ends_with(b":"), None);
    for _ in 0..PREFIX_WORDS {
        at += line.get(at..)?.iter().take_while(|&&byte| is_blank(byte)).count();
        let Some(next) = word(line, at) else { break };
        let text = &line[next.clone()];
        if text.starts_with(b"\"") || (text.starts_with(b"[") && !address_in_brackets(text)) {
            break;
        }
        let is_client = match kind(text) {
            Some(WordKind::Address) => return Some(next),
            Some(WordKind::Name) => true,
            Some(WordKind::Nobody | WordKind::List) | None => false,
        };
        if tagged && is_client {
            named = Some(next.clone());
        }
        tagged = text.ends_with(b":");
        at = next.end;
    }
    named
}

/// The kind of a word at the beginning of a line.
enum WordKind {
    Address,
    Name,
    /// `-`: unknown.
    Nobody,
    /// The address or name is followed by a comma and another one.
    List,
}

/// `None` if the word cannot be a client.
fn kind(word: &[u8]) -> Option<WordKind> {
    let (word, list) = word.strip_suffix(b",").map_or((word, false), |word| (word, true));
    let (mut letters, mut dots, mut others) = (0, 0, 0);
    for &byte in word {
        match byte {
            b'0'..=b'9' => {}
            b'.' => dots += 1,
            b'a'..=b'z' | b'A'..=b'Z' => letters += 1,
            b':' | b'-' | b'_' | b'%' => others += 1,
            b'[' | b']' => return address_in_brackets(word).then_some(WordKind::Address),
            _ => return None,
        }
    }
    match word {
        b"" => None,
        _ if list => Some(WordKind::List),
        b"-" => Some(WordKind::Nobody),
        // Parsing it would take longer and hardly be more precise.
        _ if dots == 3 && letters + others == 0 => Some(WordKind::Address),
        _ if others > 0 && is_address(word) => Some(WordKind::Address),
        // Without a letter it is a date, a time or a number.
        _ => (letters > 0).then_some(WordKind::Name),
    }
}

fn address_in_brackets(word: &[u8]) -> bool {
    matches!(word, [b'[', inner @ .., b']'] if is_address(inner))
}

fn is_address(word: &[u8]) -> bool {
    // A link-local address may have a zone (RFC 4007, 11).
    let end = memchr(b'%', word).unwrap_or(word.len());
    std::str::from_utf8(&word[..end]).is_ok_and(|text| text.parse::<IpAddr>().is_ok())
}

/// Finds parts in brackets, piece by piece.
#[derive(Default)]
struct BracketScanner {
    /// The start of the last bracket that is still open.
    open: Option<usize>,
    /// The last bracket that was closed, without its brackets.
    last: Option<Range<usize>>,
}

impl BracketScanner {
    fn look(&mut self, line: &[u8], piece: Range<usize>) {
        if let Some(before) = piece.len().checked_sub(USUAL)
            && let [b'[', date @ .., b']', b' '] = &line[piece.start + before..piece.end]
            && date.iter().fold(true, |plain, &byte| plain & (byte != b'[') & (byte != b']'))
        {
            let begin = piece.start + before + 1;
            (self.open, self.last) = (None, Some(begin..begin + date.len()));
            return;
        }
        let mut from = piece.start;
        if let Some(n) = memrchr(b'[', &line[piece.clone()]) {
            from = piece.start + n + 1;
            self.open = Some(from);
        }
        if let Some(open) = self.open
            && let Some(n) = memchr(b']', &line[from..piece.end])
        {
            self.last = Some(open..from + n);
            self.open = None;
        }
    }
}

/// The number of bytes of `rest` before the quote that ends the request: one that is not escaped, and is followed by a
/// blank or nothing, since not every server escapes.
fn request_length(rest: &[u8]) -> usize {
    let mut at = 0;
    while let Some(n) = memchr2(b'"', b'\\', &rest[at..]) {
        let here = at + n;
        if rest[here] == b'\\' {
            at = (here + 2).min(rest.len());
        } else if matches!(rest.get(here + 1), None | Some(b' ' | b'\t')) {
            return here;
        } else {
            at = here + 1;
        }
    }
    rest.len()
}

/// Appends at most `most` bytes of a request to `out`, unescaped and with each byte mapped by `map`: the normal form in
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

/// The byte that an escape at the start of `text` stands for, and its length. An unknown escape is a plain backslash.
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
    use super::*;
    use crate::weblog::entry::{file_byte, wire_byte};
    use proptest::prelude::*;

    /// A request as Apache writes it (the documented result of ap_escape_logitem).
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
        let web = AccessLine::parse(line.as_bytes())?;
        Some((&line[web.client], web.date.map(|d| &line[d]), &line[web.request]))
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
    fn other_fields_and_other_orders() {
        let found = |client| Some((client, Some("d"), "GET /"));
        for line in [
            r#"9.9.9.9 - - [d] "GET /" 200 1"#,
            r#"9.9.9.9 - [d] "GET /" 200 1"#,
            r#"9.9.9.9 [d] "GET /" 200 1"#,
            r#"9.9.9.9 - a user [d] 0.123 www.example.com "GET /" 200 1"#,
            r#"9.9.9.9 - x[y [d] "GET /" 200 1"#,
            "9.9.9.9\t-\t-\t[d]\t\"GET /\"\t200\t1",
            r#""9.9.9.9" - - [d] "GET /" 200 1"#,
            r#"www.example.com:80 9.9.9.9 - - [d] "GET /" 200 1"#,
            r#"www.example.com 9.9.9.9 - - [d] "GET /" 200 1"#,
            r#"9.9.9.9 "GET /" 200 [d]"#,
        ] {
            assert_eq!(parts(line), found("9.9.9.9"), "{line}");
        }
        for client in
            ["::1", "[::1]", "fe80::1%eth0", "host.example.com", "a_b", "-", "1.1.1.1, 9.9.9.9", "unix:"]
        {
            assert_eq!(parts(&format!(r#"{client} - - [d] "GET /" 200 1"#)), found(client));
        }
    }

    #[test]
    fn what_collectors_put_in_front_is_no_client() {
        for prefix in [
            "Oct  9 08:53:20 host nginx: ",
            "Oct 19 08:53:20 host nginx[42]: ",
            "web1 nginx: ",
            "web1  | ",
            "2025-10-09T08:53:20Z host nginx: ",
            "2025-10-09T08:53:20.123Z host nginx - - - ",
            "Thu Oct  9 08:53:20 2025 ",
            "INFO:     ",
        ] {
            for client in ["9.9.9.9", "::1", "[2001:db8::1]"] {
                let line = format!(r#"{prefix}{client} - - [d] "GET / HTTP/1.1" 200 5"#);
                assert_eq!(parts(&line), Some((client, Some("d"), "GET / HTTP/1.1")), "{line}");
            }
        }
        for prefix in ["Oct  9 08:53:20 host nginx: ", "web1 nginx: "] {
            let line = format!(r#"{prefix}www.example - - [d] "GET /" 200 5"#);
            assert_eq!(parts(&line), Some(("www.example", Some("d"), "GET /")), "{line}");
        }
        for client in ["www.example", "unix:"] {
            let line = format!(r#"{client} - a:b [d] "GET /" 200 5"#);
            assert_eq!(parts(&line), Some((client, Some("d"), "GET /")), "{line}");
        }
    }

    #[test]
    fn a_client_that_is_remembered_makes_no_difference() {
        let mut client = Vec::new();
        for line in [
            r#"9.9.9.9 - - [10/Oct/2000:13:55:36 +0300] "GET /1" 200 1"#,
            r#"9.9.9.9 - x[ [10/Oct/2000:13:55:36 +0300] "GET /2" 200 1"#,
            r#"9.9.9.99 - - [10/Oct/2000:13:55:36 +0300] "GET /3" 200 1"#,
            r#"www.example.com 9.9.9.9 - - [d] "GET /4" 200 1"#,
            r#"9.9.9.9"#,
            r#"::1 - - [a[10/Oct/2000:13:55:36 +030] "GET /5" 200 1"#,
            r#"::1 - - [10]Oct/2000:13:55:36 +0300] "GET /6" 200 1"#,
            r#"::1 - - x"GET /7" 200 1"#,
            "{}",
        ] {
            for _ in 0..2 {
                assert_eq!(
                    AccessLine::parse_with(line.as_bytes(), &mut client),
                    AccessLine::parse(line.as_bytes())
                );
            }
        }
    }

    #[test]
    fn what_begins_with_no_client_is_no_such_line() {
        for line in [
            r#"{"level":"info","msg":"handled request","request":{"uri":"/"}}"#,
            r#"[Wed Oct 11 14:32:52 2000] [core:error] [client 9.9.9.9:1] Invalid URI in "GET /""#,
            r#"time="2000-10-10T13:55:36Z" level=info msg="GET / HTTP/1.0" "x""#,
            r#"2000-10-10 13:55:36 10.0.0.1 "GET /" - 80"#,
            "#Fields: date time s-ip cs-method \"cs-uri\"",
            r#"971175336.123 9.9.9.9 "GET /"#,
        ] {
            assert_eq!(parts(line), None, "{line}");
        }
    }

    /// Parsing takes linear time and does not recurse.
    #[test]
    fn a_line_made_to_be_slow_is_not() {
        for piece in [" \"", "[", "[ \"", "] \"", ",", "\\"] {
            AccessLine::parse(format!("a {}", piece.repeat(1 << 20)).as_bytes());
            AccessLine::parse(format!("1{}", piece.repeat(1 << 20)).as_bytes());
        }
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
                    let web = AccessLine::parse(&line).unwrap();
                    prop_assert_eq!(&line[web.request.clone()], &escaped[..]);
                    let mut out = Vec::new();
                    unescape(&line[web.request], map, most, &mut out);
                    prop_assert_eq!(&out, &wanted);
                }
            }
        }

        #[test]
        fn any_bytes_are_survived(line: Vec<u8>, most in 0_usize..600) {
            if let Some(web) = AccessLine::parse(&line) {
                let mut out = Vec::new();
                unescape(&line[web.request], file_byte, most, &mut out);
                prop_assert!(out.len() <= most);
            }
        }
    }
}
