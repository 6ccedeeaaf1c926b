//! penlogd without its sockets: received lines in, log lines out.

use std::net::IpAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use crate::weblog::access_line::{AccessLine, unescape};
use crate::weblog::entry::{LogEntry, LoggedClient, wire_byte, write_client};
use crate::weblog::key::{KeyMaker, ServerName};

use super::matcher::Matcher;
use crate::weblog::escape::push_escaped;

/// The number of bytes of a request that are compared. Both pen's datagrams and penlog's lines are cut at about twice
/// this.
const REQUEST: usize = 512;

/// Replaces the client in web servers' lines by the one in pen's entries.
pub struct Merger {
    matcher: Matcher,
    keys: KeyMaker,
    hold: Duration,
    request: Vec<u8>,
    out: Vec<u8>,
}

impl Merger {
    /// A merger that matches the last `entries` entries of pen and holds lines for at most `hold`.
    pub fn new(entries: usize, hold: Duration) -> Merger {
        Merger {
            matcher: Matcher::new(entries),
            keys: KeyMaker::default(),
            hold,
            request: Vec::new(),
            out: Vec::new(),
        }
    }

    /// Takes a line without its newline that came from `from`, an entry of pen or a line of that web server. Calls
    /// `write` with each line that is now complete, including its newline. False if the line is invalid; it is then
    /// written unchanged, unless it looks like an entry.
    pub fn line(&mut self, line: &[u8], from: IpAddr, now: Instant, mut write: impl FnMut(&[u8])) -> bool {
        let Merger { matcher, out, .. } = self;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.starts_with(b"+ ") {
            let Some(entry) = LogEntry::parse_datagram(line) else { return false };
            let request = form(&mut self.request, |out| {
                out.extend(entry.request.iter().take(REQUEST).map(|&b| wire_byte(b)));
            });
            let key = self.keys.server(&ServerName::parse(entry.server)).key(request);
            matcher.entry(key, entry.client, |line, client| write(merged(out, line, Some(client))));
            return true;
        }
        let Some(parts) = AccessLine::parse(line) else {
            if !line.is_empty() {
                write(merged(out, line, None));
            }
            return false;
        };
        let request = form(&mut self.request, |out| unescape(&line[parts.request], wire_byte, REQUEST, out));
        let key = self.keys.server(&ServerName::Ip(from)).key(request);
        match matcher.find(key) {
            Some(client) => write(merged(out, line, Some(client))),
            None if self.hold.is_zero() => write(merged(out, line, matcher.find_used(key))),
            None => matcher.hold(key, line, now + self.hold, |line, client| write(merged(out, line, client))),
        }
        true
    }

    /// Writes the lines that have waited long enough.
    pub fn release_due(&mut self, now: Instant, mut write: impl FnMut(&[u8])) {
        let Merger { matcher, out, .. } = self;
        matcher.release_due(now, |line, client| write(merged(out, line, client)));
    }

    /// Writes all held lines.
    pub fn release_all(&mut self, mut write: impl FnMut(&[u8])) {
        let Merger { matcher, out, .. } = self;
        matcher.release_all(|line, client| write(merged(out, line, client)));
    }

    /// When the next held line is due for release.
    pub fn next_release(&self) -> Option<Instant> {
        self.matcher.next_release()
    }
}

fn form(buffer: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) -> &[u8] {
    buffer.clear();
    fill(buffer);
    buffer
}

/// The line with its client replaced, if known, without control characters and with a newline.
fn merged<'a>(out: &'a mut Vec<u8>, line: &[u8], client: Option<LoggedClient>) -> &'a [u8] {
    out.clear();
    let place = client.and_then(|_| AccessLine::parse(line)).map_or(0..0, |parts| parts.client);
    let Range { start, end } = place;
    push_escaped(&line[..start], out);
    if let Some(client) = client {
        write_client(client, out);
    }
    push_escaped(&line[end..], out);
    out.push(b'\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WEB: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    fn feed(merger: &mut Merger, from: IpAddr, now: Instant, line: &[u8]) -> Vec<String> {
        let mut out = Vec::new();
        merger.line(line, from, now, |line| out.push(String::from_utf8_lossy(line).into_owned()));
        out
    }

    fn web(request: &str) -> Vec<u8> {
        format!(r#"9.9.9.9 - - [10/Oct/2000:13:55:36 +0300] "{request}" 200 1 "r" "ua""#).into_bytes()
    }

    fn clients(lines: &[String]) -> Vec<&str> {
        lines.iter().map(|line| line.split(' ').next().unwrap()).collect()
    }

    #[test]
    fn the_client_is_put_in_and_the_rest_left_alone() {
        let mut merger = Merger::new(10, Duration::ZERO);
        let now = Instant::now();
        assert!(
            feed(&mut merger, WEB, now, b"+ 2001:db8::1 ::ffff:10.0.0.1 GET /a b\"\xe9 HTTP/1.0").is_empty()
        );
        let lines = feed(&mut merger, WEB, now, &web(r#"GET /a b\"\xe9 HTTP/1.0"#));
        let wanted = String::from_utf8(web(r#"GET /a b\"\xe9 HTTP/1.0"#)).unwrap().replacen(
            "9.9.9.9",
            "2001:db8::1",
            1,
        );
        assert_eq!(lines, [wanted + "\n"]);
    }

    #[test]
    fn an_unmatched_or_strange_line_is_written_as_it_came() {
        let mut merger = Merger::new(10, Duration::ZERO);
        let now = Instant::now();
        assert_eq!(clients(&feed(&mut merger, WEB, now, &web("GET /"))), ["9.9.9.9"]);
        assert_eq!(feed(&mut merger, WEB, now, b"what is this"), ["what is this\n"]);
        assert!(feed(&mut merger, WEB, now, b"+ not an entry").is_empty());
        assert!(feed(&mut merger, WEB, now, b"").is_empty());
    }

    #[test]
    fn a_line_that_comes_before_its_entry_waits_for_it() {
        let mut merger = Merger::new(10, Duration::from_millis(200));
        let now = Instant::now();
        assert!(feed(&mut merger, WEB, now, &web("GET /")).is_empty());
        assert_eq!(clients(&feed(&mut merger, WEB, now, b"+ 192.0.2.1 10.0.0.1 GET /")), ["192.0.2.1"]);
        // The server is part of the key.
        assert!(feed(&mut merger, "10.0.0.2".parse().unwrap(), now, &web("GET /")).is_empty());
        assert!(feed(&mut merger, WEB, now, b"+ 192.0.2.2 10.0.0.1 GET /").is_empty());
        let mut late = Vec::new();
        merger.release_due(now + Duration::from_millis(199), |_| panic!());
        merger.release_due(now + Duration::from_millis(200), |line| late.push(line.to_vec()));
        assert_eq!(late.len(), 1);
        assert!(late[0].starts_with(b"9.9.9.9 - "));
    }

    #[test]
    fn long_requests_match_although_both_sides_are_cut() {
        let mut merger = Merger::new(10, Duration::ZERO);
        let now = Instant::now();
        let path = format!("GET /{}", "y".repeat(3000));
        let mut entry = Vec::new();
        let client = "192.0.2.1".parse().ok();
        LogEntry { client, epoch: 0, server: "10.0.0.1", request: path.as_bytes() }
            .write_datagram(&mut entry);
        feed(&mut merger, WEB, now, &entry);
        let cut = [&web(&path)[..1000], b"..."].concat();
        assert_eq!(clients(&feed(&mut merger, WEB, now, &cut)), ["192.0.2.1"]);
    }

    #[test]
    fn control_characters_are_escaped_whether_a_line_is_merged_or_not() {
        let mut merger = Merger::new(10, Duration::ZERO);
        let now = Instant::now();
        let line = b"9.9.9.9 - \x1b[31m [d] \"GET /\" 200 1 \"\xc2\x9b2J\"\r";
        let rest = " - \\x1b[31m [d] \"GET /\" 200 1 \"\\xc2\\x9b2J\"\n";
        assert_eq!(feed(&mut merger, WEB, now, line), [format!("9.9.9.9{rest}")]);
        feed(&mut merger, WEB, now, b"+ 192.0.2.1 10.0.0.1 GET /");
        assert_eq!(feed(&mut merger, WEB, now, line), [format!("192.0.2.1{rest}")]);
        assert_eq!(feed(&mut merger, WEB, now, b"\x1b]0;title\x07 \x00"), ["\\x1b]0;title\\x07 \\x00\n"]);
    }

    #[test]
    fn only_the_client_is_replaced() {
        let mut merger = Merger::new(10, Duration::ZERO);
        let now = Instant::now();
        for (line, wanted) in [
            (
                r#"www.example.com:80 9.9.9.9 - - [d] "GET /" 200"#,
                r#"www.example.com:80 192.0.2.1 - - [d] "GET /" 200"#,
            ),
            (r#"{"msg":"handled request","uri": "GET /"}"#, r#"{"msg":"handled request","uri": "GET /"}"#),
        ] {
            feed(&mut merger, WEB, now, b"+ 192.0.2.1 10.0.0.1 GET /");
            assert_eq!(feed(&mut merger, WEB, now, line.as_bytes()), [format!("{wanted}\n")]);
        }
    }

    proptest! {
        #[test]
        fn any_lines_are_survived_and_none_is_lost(lines in prop::collection::vec("(\\\\+ )?\\\\PC{0,40}", 0..40)) {
            let mut merger = Merger::new(3, Duration::from_millis(1));
            let now = Instant::now();
            let mut written = 0;
            for line in &lines {
                merger.line(line.as_bytes(), WEB, now, |_| written += 1);
            }
            merger.release_all(|_| written += 1);
            let wanted = lines.iter().filter(|l| !l.is_empty() && !l.starts_with("+ ")).count();
            prop_assert_eq!(written, wanted);
        }
    }
}
