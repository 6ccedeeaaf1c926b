//! Where the first message of a TLS client ends.
//!
//! A ClientHello may come in several records (RFC 8446 5.1), each in several segments. Until it has come as a whole, a
//! connection holds its bytes and nothing else: the state of a handshake is much larger.

/// The longest ClientHello that is accepted: the largest record. Those in use have 200 to 2,000 bytes.
const MESSAGE_MAX: usize = RECORD_MAX;
/// The longest record (RFC 8446 5.1).
const RECORD_MAX: usize = 16 * 1024;
/// The most bytes that are read in search of its end: the message, and the headers of 800 records.
pub const HELLO_MAX: usize = MESSAGE_MAX + 4096;

/// The length of the header of a record: its type, version and length.
const RECORD_HEADER: usize = 5;
/// The length of the header of a message: its type and length.
const MESSAGE_HEADER: usize = 4;

/// Types of records (RFC 8446 5.1), and of a message (4).
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
/// The version of SSL 3 and of all versions of TLS, the first of two numbers.
const MAJOR: u8 = 3;

/// Alerts (RFC 8446 6).
const UNEXPECTED_MESSAGE: u8 = 10;
const RECORD_OVERFLOW: u8 = 22;
const ILLEGAL_PARAMETER: u8 = 47;

/// What the bytes so far are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HelloProgress {
    /// The beginning of a ClientHello.
    Partial,
    /// A whole ClientHello, and possibly more.
    Whole,
    /// Not TLS.
    Foreign,
    /// TLS that no client begins with, or too long; and the alert that says so, if one is due.
    Refused(Option<u8>),
}

/// Looks for the end of the ClientHello at the beginning of a stream.
#[derive(Debug, Default)]
pub struct HelloFraming {
    /// Where the next record begins.
    next: usize,
    /// The header of the message, as far as it has come.
    header: [u8; MESSAGE_HEADER],
    /// How many bytes of the message have come in whole records, its header included.
    received: usize,
}

impl HelloFraming {
    /// Looks at all bytes so far, which begin with those of the last call.
    pub fn look(&mut self, bytes: &[u8]) -> HelloProgress {
        if let (0, Some(whole)) = (self.next, length_in_version_2(bytes)) {
            return if bytes.len() < whole { bounded(bytes) } else { HelloProgress::Whole };
        }
        loop {
            let Some(&[kind, major, _, high, low]) =
                bytes.get(self.next..).and_then(|rest| rest.first_chunk())
            else {
                return bounded(bytes);
            };
            let length = usize::from(u16::from_be_bytes([high, low]));
            match kind {
                _ if major != MAJOR => return HelloProgress::Foreign,
                ALERT => return HelloProgress::Refused(None),
                HANDSHAKE if length > RECORD_MAX => return HelloProgress::Refused(Some(RECORD_OVERFLOW)),
                HANDSHAKE => {}
                _ => return HelloProgress::Refused(Some(UNEXPECTED_MESSAGE)),
            }
            let end = self.next + RECORD_HEADER + length;
            let Some(fragment) = bytes.get(self.next + RECORD_HEADER..end) else { return bounded(bytes) };
            self.next = end;
            if let Some(found) = self.add(fragment) {
                return found;
            }
        }
    }

    /// Adds the next part of the message.
    fn add(&mut self, fragment: &[u8]) -> Option<HelloProgress> {
        for (into, byte) in self.header.iter_mut().skip(self.received).zip(fragment) {
            *into = *byte;
        }
        self.received += fragment.len();
        if self.received < MESSAGE_HEADER {
            return None;
        }
        let [kind, high, middle, low] = self.header;
        let length = usize::try_from(u32::from_be_bytes([0, high, middle, low])).unwrap_or(usize::MAX);
        match kind {
            CLIENT_HELLO if length > MESSAGE_MAX => Some(HelloProgress::Refused(Some(ILLEGAL_PARAMETER))),
            CLIENT_HELLO => (self.received >= MESSAGE_HEADER + length).then_some(HelloProgress::Whole),
            _ => Some(HelloProgress::Refused(Some(UNEXPECTED_MESSAGE))),
        }
    }
}

/// Bytes that are too few, unless there are too many of them.
fn bounded(bytes: &[u8]) -> HelloProgress {
    if bytes.len() < HELLO_MAX {
        HelloProgress::Partial
    } else {
        HelloProgress::Refused(Some(ILLEGAL_PARAMETER))
    }
}

/// The length of a ClientHello in the form of SSL 2, in which clients of the time offered TLS too (RFC 5246 E.2). The library
/// looks at nothing shorter than a header.
fn length_in_version_2(bytes: &[u8]) -> Option<usize> {
    match *bytes {
        [high, low, CLIENT_HELLO, ..] if high & 0x80 != 0 => {
            Some((usize::from(u16::from_be_bytes([high & 0x7f, low])) + 2).max(RECORD_HEADER))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, body: &[u8]) -> Vec<u8> {
        let [high, low] = u16::try_from(body.len()).unwrap().to_be_bytes();
        [&[kind, 3, 1, high, low], body].concat()
    }

    fn message(kind: u8, length: usize) -> Vec<u8> {
        let [_, high, middle, low] = u32::try_from(length).unwrap().to_be_bytes();
        [vec![kind, high, middle, low], vec![7; length]].concat()
    }

    /// What each beginning is, up to the last one of `bytes`; all but that are partial.
    fn at_the_end(bytes: &[u8]) -> HelloProgress {
        let mut framing = HelloFraming::default();
        for length in 0..bytes.len() {
            assert_eq!(framing.look(&bytes[..length]), HelloProgress::Partial, "{length} of {}", bytes.len());
        }
        assert_eq!(framing.look(bytes), HelloFraming::default().look(bytes), "all at once");
        HelloFraming::default().look(bytes)
    }

    #[test]
    fn the_end_is_found_whatever_the_records_and_segments() {
        let hello = message(CLIENT_HELLO, 300);
        for size in [1, 2, 3, 4, 5, 100, 303, 304] {
            let records: Vec<u8> = hello.chunks(size).flat_map(|part| record(HANDSHAKE, part)).collect();
            assert_eq!(at_the_end(&records), HelloProgress::Whole, "records of {size}");
            let more = [&records[..], b"more"].concat();
            assert_eq!(HelloFraming::default().look(&more), HelloProgress::Whole);
        }
        // The library refuses too many of them.
        let with_empty = [record(HANDSHAKE, b""), record(HANDSHAKE, &hello)].concat();
        assert_eq!(at_the_end(&with_empty), HelloProgress::Whole);
        // The message ends within a record, which must come as a whole.
        assert_eq!(at_the_end(&record(HANDSHAKE, &[&hello[..], b"next"].concat())), HelloProgress::Whole);
        assert_eq!(
            at_the_end(&[&[0x80, 46, CLIENT_HELLO, 3, 1][..], &[0; 43]].concat()),
            HelloProgress::Whole
        );
    }

    #[test]
    fn what_is_not_tls_is_told_from_what_no_client_sends() {
        assert_eq!(at_the_end(b"GET /"), HelloProgress::Foreign);
        assert_eq!(at_the_end(&[HANDSHAKE, 2, 0, 0, 1]), HelloProgress::Foreign);
        assert_eq!(at_the_end(&record(ALERT, &[2, 40])[..5]), HelloProgress::Refused(None));
        assert_eq!(at_the_end(&record(23, &[0; 9])[..5]), HelloProgress::Refused(Some(UNEXPECTED_MESSAGE)));
        let other = record(HANDSHAKE, &message(2, 5));
        assert_eq!(at_the_end(&other), HelloProgress::Refused(Some(UNEXPECTED_MESSAGE)));
        // Between two fragments, too.
        let fragment = record(HANDSHAKE, &message(CLIENT_HELLO, 90)[..50]);
        let between = [&fragment[..], &record(23, b"x")[..5]].concat();
        assert_eq!(at_the_end(&between), HelloProgress::Refused(Some(UNEXPECTED_MESSAGE)));
    }

    #[test]
    fn no_client_makes_pen_hold_more() {
        assert_eq!(at_the_end(&[HANDSHAKE, 3, 1, 0x40, 1]), HelloProgress::Refused(Some(RECORD_OVERFLOW)));
        let longest = message(CLIENT_HELLO, MESSAGE_MAX);
        let records = |message: &[u8], size| -> Vec<u8> {
            message.chunks(size).flat_map(|part| record(HANDSHAKE, part)).collect()
        };
        assert_eq!(HelloFraming::default().look(&records(&longest, 1000)), HelloProgress::Whole);
        let longer = message(CLIENT_HELLO, MESSAGE_MAX + 1);
        let first = &records(&longer, 1000)[..RECORD_HEADER + 1000];
        assert_eq!(at_the_end(first), HelloProgress::Refused(Some(ILLEGAL_PARAMETER)));
        let in_crumbs = &records(&longest, 2)[..HELLO_MAX];
        assert_eq!(at_the_end(in_crumbs), HelloProgress::Refused(Some(ILLEGAL_PARAMETER)));
        assert_eq!(at_the_end(&[0x80, 0, CLIENT_HELLO, 3, 1]), HelloProgress::Whole);
        let of_version_2 = &[&[0xff, 0xff, CLIENT_HELLO][..], &[0; HELLO_MAX]].concat()[..HELLO_MAX];
        assert_eq!(at_the_end(of_version_2), HelloProgress::Refused(Some(ILLEGAL_PARAMETER)));
    }
}
