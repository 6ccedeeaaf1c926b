//! The line format of pen's request log, in a file and on the wire.
//!
//! * file: `CLIENT EPOCH SERVER FIRST-LINE\n`, the first line of the request cut at [`FILE_REQUEST`] bytes,
//!   control characters and bytes from 0x80 as `.`;
//! * datagram to penlogd: `+ CLIENT SERVER FIRST-LINE\n`, at most [`DATAGRAM`] bytes, control characters as `.`.
//!
//! Both formats are those of the C programs (pen 0.34.1), which wrote control characters unchanged.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use memchr::{memchr, memchr2};

/// The maximum number of bytes of a request's first line in the file log.
pub const FILE_REQUEST: usize = 100;

/// The maximum length of a datagram, including its newline.
pub const DATAGRAM: usize = 1024;

/// A client's address; `None` if it came over a Unix-domain socket.
pub type LoggedClient = Option<IpAddr>;

/// The word in a web server's log for a client without an address.
const NOBODY: &[u8] = b"-";

/// One request that pen passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogEntry<'a> {
    /// The client. One without an address is an empty word, as in C pen.
    pub client: LoggedClient,
    /// The time, in seconds since 1970-01-01 UTC. Not in the datagram: 0 after [`LogEntry::parse_datagram`].
    pub epoch: i64,
    /// The server that got it: its address without a port, or the path of its socket.
    pub server: &'a str,
    /// The request. Anything after the first line is ignored when writing.
    pub request: &'a [u8],
}

impl<'a> LogEntry<'a> {
    /// Appends the line for the file log to `out`.
    pub fn write_file(&self, out: &mut Vec<u8>) {
        self.write_client(out);
        // Writing to a Vec cannot fail.
        let _ = write!(out, " {} {} ", self.epoch, self.server);
        let line = first_line(self.request);
        out.extend(line.iter().take(FILE_REQUEST).map(|&b| file_byte(b)));
        out.push(b'\n');
    }

    /// Appends the datagram for penlogd to `out`: at most [`DATAGRAM`] bytes, ending with a newline.
    pub fn write_datagram(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(b"+ ");
        self.write_client(out);
        let _ = write!(out, " {} ", self.server);
        let line = first_line(self.request);
        let room = (DATAGRAM - 1).saturating_sub(out.len() - start);
        out.extend(line.iter().take(room).map(|&b| wire_byte(b)));
        out.truncate(start + DATAGRAM - 1);
        out.push(b'\n');
    }

    fn write_client(&self, out: &mut Vec<u8>) {
        if let Some(client) = self.client {
            write_address(client.to_canonical(), out);
        }
    }

    /// Parses a line of the file log, with or without its newline. `None` if it is not one.
    pub fn parse_file(line: &'a [u8]) -> Option<LogEntry<'a>> {
        let (client, epoch, rest) = parse_beginning(line)?;
        let (server, request) = word(rest)?;
        Some(LogEntry { client, epoch, server: parse_server(server)?, request: first_line(request) })
    }

    /// Parses a datagram. `None` if it is not an entry of pen (but a web server's line, or garbage).
    pub fn parse_datagram(datagram: &'a [u8]) -> Option<LogEntry<'a>> {
        let (client, rest) = word(datagram.strip_prefix(b"+ ")?)?;
        let (server, request) = word(rest)?;
        Some(LogEntry {
            client: parse_client(client)?,
            epoch: 0,
            server: parse_server(server)?,
            request: first_line(request),
        })
    }
}

/// Appends a client in the form of a web server's log: its address, or `-` if it has none.
pub fn write_client(client: LoggedClient, out: &mut Vec<u8>) {
    match client {
        Some(address) => write_address(address, out),
        None => out.extend_from_slice(NOBODY),
    }
}

/// Appends an address; IPv4 without the formatter, since this runs for every line of a log.
fn write_address(address: IpAddr, out: &mut Vec<u8>) {
    let IpAddr::V4(address) = address else {
        // Writing to a Vec cannot fail.
        let _ = write!(out, "{address}");
        return;
    };
    let (mut text, mut length) = ([0; 16], 0);
    for octet in address.octets() {
        let (digits, count) = OCTETS[usize::from(octet)];
        // The bytes after the dot are overwritten.
        text[length..length + 4].copy_from_slice(&digits);
        length += count + 1;
    }
    out.extend_from_slice(&text[..length - 1]);
}

/// The digits of every octet followed by a dot, and their number.
const OCTETS: [([u8; 4], usize); 256] = {
    let mut octets = [([b'.'; 4], 1); 256];
    let mut n = 0;
    while n < 256 {
        let (hundreds, tens, ones) =
            (b'0' + (n / 100) as u8, b'0' + (n / 10 % 10) as u8, b'0' + (n % 10) as u8);
        octets[n] = match n {
            0..10 => ([ones, b'.', b'.', b'.'], 1),
            10..100 => ([tens, ones, b'.', b'.'], 2),
            _ => ([hundreds, tens, ones, b'.'], 3),
        };
        n += 1;
    }
    octets
};

/// The bytes before the first CR or LF.
pub fn first_line(chunk: &[u8]) -> &[u8] {
    memchr2(b'\r', b'\n', chunk).map_or(chunk, |end| &chunk[..end])
}

/// The form of a request's byte in the file log.
pub fn file_byte(b: u8) -> u8 {
    if matches!(b, b' '..=b'~') { b } else { b'.' }
}

/// Whether every byte is written unchanged in the file log. A loop that the compiler can vectorize: it runs for every
/// line of a log.
pub(super) fn is_plain(request: &[u8]) -> bool {
    request.iter().fold(0, |odd, &b| odd | u8::from(b.wrapping_sub(b' ') > b'~' - b' ')) == 0
}

/// The form of a request's byte in a datagram: only bytes that would break a line are replaced.
pub fn wire_byte(b: u8) -> u8 {
    if b.is_ascii_control() { b'.' } else { b }
}

/// The client and the time of a line of the file log, and the rest: server and request.
pub(super) fn parse_beginning(line: &[u8]) -> Option<(LoggedClient, i64, &[u8])> {
    let (client, rest) = match leading_ipv4(line) {
        Some((address, length)) => (Some(IpAddr::V4(address)), &line[length + 1..]),
        None => {
            let (client, rest) = word(line)?;
            (parse_client(client)?, rest)
        }
    };
    let (mut epoch, mut digits) = (0, 0);
    while let Some(digit) = rest.get(digits).map(|b| b.wrapping_sub(b'0')).filter(|&digit| digit < 10)
        && digits < 18
    {
        epoch = epoch * 10 + i64::from(digit);
        digits += 1;
    }
    if digits > 0 && rest.get(digits) == Some(&b' ') {
        return Some((client, epoch, &rest[digits + 1..]));
    }
    let (epoch, rest) = word(rest)?;
    Some((client, std::str::from_utf8(epoch).ok()?.parse().ok()?, rest))
}

/// An IPv4 address followed by a blank, and its length: nearly every client is one.
#[inline]
fn leading_ipv4(line: &[u8]) -> Option<(Ipv4Addr, usize)> {
    let digit = |at: usize| line.get(at).map(|b| u32::from(b.wrapping_sub(b'0'))).filter(|&digit| digit < 10);
    let (mut octets, mut at) = ([0_u8; 4], 0);
    for (n, octet) in octets.iter_mut().enumerate() {
        let first = digit(at)?;
        at += 1;
        let mut value = first;
        // A number does not begin with 0 unless it is 0.
        while first > 0
            && value < 100
            && let Some(next) = digit(at)
        {
            value = value * 10 + next;
            at += 1;
        }
        *octet = u8::try_from(value).ok()?;
        if line.get(at) != Some(if n < 3 { &b'.' } else { &b' ' }) {
            return None;
        }
        at += 1;
    }
    Some((octets.into(), at - 1))
}

fn word(line: &[u8]) -> Option<(&[u8], &[u8])> {
    memchr(b' ', line).map(|end| (&line[..end], &line[end + 1..]))
}

fn parse_client(word: &[u8]) -> Option<LoggedClient> {
    if word.is_empty() {
        return Some(None);
    }
    // C pen writes the zone of a link-local address (RFC 4007, 11), which means nothing on other machines.
    let end = memchr(b'%', word).unwrap_or(word.len());
    let address: IpAddr = std::str::from_utf8(&word[..end]).ok()?.parse().ok()?;
    Some(Some(address.to_canonical()))
}

fn parse_server(word: &[u8]) -> Option<&str> {
    std::str::from_utf8(word).ok().filter(|server| !server.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry<'a>(client: &str, request: &'a [u8]) -> LogEntry<'a> {
        LogEntry { client: client.parse().ok(), epoch: 971_175_336, server: "10.0.0.1", request }
    }

    fn file(entry: &LogEntry<'_>) -> String {
        let mut out = Vec::new();
        entry.write_file(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn datagram(entry: &LogEntry<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        entry.write_datagram(&mut out);
        out
    }

    #[test]
    fn file_line_is_that_of_c() {
        let e = entry("127.0.0.1", b"GET /\xc3\xa9 HTTP/1.0\r\nHost: a\r\n\r\n");
        assert_eq!(file(&e), "127.0.0.1 971175336 10.0.0.1 GET /.. HTTP/1.0\n");
        assert_eq!(file(&entry("::ffff:1.2.3.4", b"\r\n")), "1.2.3.4 971175336 10.0.0.1 \n");
        assert_eq!(file(&entry("", b"hello")), " 971175336 10.0.0.1 hello\n");
        let long = [b'N'; 101];
        assert_eq!(file(&entry("::1", &long)), format!("::1 971175336 10.0.0.1 {}\n", "N".repeat(100)));
    }

    #[test]
    fn control_characters_cannot_break_a_line() {
        assert_eq!(file(&entry("::1", b"a\x00\x1b\tb")), "::1 971175336 10.0.0.1 a...b\n");
        assert_eq!(datagram(&entry("::1", b"a\x00\x1b\tb\x7f")), b"+ ::1 10.0.0.1 a...b.\n");
    }

    #[test]
    fn datagram_is_that_of_c() {
        let e = entry("127.0.0.1", b"GET /\xc3\xa9 HTTP/1.0\r\n\r\n");
        assert_eq!(datagram(&e), b"+ 127.0.0.1 10.0.0.1 GET /\xc3\xa9 HTTP/1.0\n");
        let long = datagram(&entry("127.0.0.1", &[b'L'; 2000]));
        assert_eq!((long.len(), long[1023]), (1024, b'\n'));
    }

    #[test]
    fn an_overlong_server_does_not_break_the_limit() {
        let path = format!("/{}", "x".repeat(2000));
        let e = LogEntry { server: &path, ..entry("::1", b"GET /") };
        assert_eq!(datagram(&e).len(), DATAGRAM);
    }

    #[test]
    fn appending_leaves_what_was_there() {
        let mut out = b"before\n".to_vec();
        entry("::1", &[b'L'; 2000]).write_datagram(&mut out);
        assert!(out.starts_with(b"before\n+ ::1 ") && out.len() == 7 + DATAGRAM);
    }

    #[test]
    fn a_zone_of_a_client_is_left_out() {
        let line = b"fe80::1%eth0 5 10.0.0.1 GET /";
        assert_eq!(LogEntry::parse_file(line).unwrap().client, "fe80::1".parse().ok());
    }

    #[test]
    fn garbage_is_no_entry() {
        for line in [
            "",
            " ",
            "x",
            "1.2.3.4",
            "1.2.3.4 5",
            "1.2.3.4 x 10.0.0.1 GET",
            "host 5 10.0.0.1 GET",
            "1.2.3.4 5  GET",
        ] {
            assert_eq!(LogEntry::parse_file(line.as_bytes()), None, "{line:?}");
        }
        for line in
            ["+", "+ ", "+ 1.2.3.4", "+ 1.2.3.4 10.0.0.1", "+1.2.3.4 10.0.0.1 G", "1.2.3.4 10.0.0.1 G"]
        {
            assert_eq!(LogEntry::parse_datagram(line.as_bytes()), None, "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn the_short_way_reads_what_the_parser_reads(text in "[0-9]{1,4}(\\.[0-9]{1,4}){2,4}") {
            let line = format!("{text} ");
            let wanted = text.parse::<Ipv4Addr>().ok().map(|address| (address, text.len()));
            prop_assert_eq!(leading_ipv4(line.as_bytes()), wanted);
        }

        #[test]
        fn addresses_are_written_as_the_formatter_writes_them(v4: u32, v6: u128) {
            for address in [IpAddr::from(v4.to_be_bytes()), IpAddr::from(v6.to_be_bytes())] {
                let mut out = Vec::new();
                write_client(Some(address), &mut out);
                prop_assert_eq!(out, address.to_string().into_bytes());
            }
        }

        #[test]
        fn what_is_written_is_read(ip: Option<u128>, v4: bool, epoch: i64, request: Vec<u8>) {
            let client = ip.map(|n| {
                if v4 { IpAddr::from((n as u32).to_be_bytes()) } else { IpAddr::from(n.to_be_bytes()).to_canonical() }
            });
            let e = LogEntry { client, epoch, server: "2001:db8::1", request: &request };
            let line = file(&e);
            let back = LogEntry::parse_file(line.as_bytes()).unwrap();
            prop_assert_eq!((back.client, back.epoch, back.server), (client, epoch, e.server));
            let wire = datagram(&e);
            prop_assert!(wire.len() <= DATAGRAM && memchr(b'\n', &wire) == Some(wire.len() - 1));
            let back = LogEntry::parse_datagram(&wire).unwrap();
            let sent: Vec<u8> = first_line(&request).iter().map(|&b| wire_byte(b)).take(back.request.len()).collect();
            prop_assert_eq!((back.client, back.request), (client, &sent[..]));
        }

        #[test]
        fn any_bytes_are_survived(line: Vec<u8>) {
            let _ = LogEntry::parse_file(&line);
            let _ = LogEntry::parse_datagram(&line);
        }
    }
}
