//! Matches answers of the server to requests, as long as that is certain.
//!
//! The result tells whether a switch to another protocol was granted, when the client may be told that its next request
//! is refused, and whether a connection that pen ends is between two messages.

use super::body::{Body, Then};
use super::fields::{Fields, Framing};
use super::lines::{HeadLines, MAX_HEAD, end_of_head, recycle};
use super::request::{Request, Tunnel};

/// The maximum number of requests that may wait for answers.
const MAX_WAITING: u32 = u64::BITS;

/// The server's side of one connection.
#[derive(Debug, Default)]
pub(super) struct Answers {
    waiting: u32,
    /// Which of the waiting requests are HEAD requests, the oldest in the lowest bit.
    heads: u64,
    /// The protocol that the newest of them asks for: no other request follows before its answer.
    tunnel: Tunnel,
    head: Vec<u8>,
    body: Option<Body>,
    tracking: Tracking,
    /// The server is sending an answer that lasts until the connection ends.
    is_unbounded: bool,
}

/// How far the answers of a server have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerProgress {
    /// Every request has its answer.
    Complete,
    /// An answer is to come, or to be continued.
    Incomplete,
    /// That cannot be told from what has passed.
    Unknown,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Tracking {
    #[default]
    On,
    /// Answers can no longer be matched to requests.
    Lost,
    /// Matching is no longer needed.
    Off,
}

impl Answers {
    /// Records a request whose answer is to come; not while they [are full](Self::are_full).
    pub(super) fn expect(&mut self, request: &Request) {
        if self.tracking == Tracking::On {
            self.heads |= u64::from(request.is_head) << self.waiting;
            self.waiting += 1;
        }
        self.tunnel = request.tunnel;
    }

    /// Whether an answer must come before another request may be passed on.
    pub(super) fn are_full(&self) -> bool {
        self.waiting >= MAX_WAITING
    }

    /// Whether a protocol switch was requested and is not yet decided.
    pub(super) fn are_undecided(&self) -> bool {
        self.tunnel != Tunnel::No && self.tracking != Tracking::Lost
    }

    /// Whether one was requested and pen will not learn the decision.
    pub(super) fn are_undecidable(&self) -> bool {
        self.tunnel != Tunnel::No && self.tracking == Tracking::Lost
    }

    /// How many requests wait for their answers.
    pub(super) fn waiting(&self) -> u32 {
        self.waiting
    }

    /// Whether the client has received part of an answer.
    pub(super) fn are_amid_one(&self) -> bool {
        self.body.is_some() || !self.head.is_empty()
    }

    /// How far the answers have come.
    pub(super) fn progress(&self) -> AnswerProgress {
        match self.tracking {
            _ if self.is_unbounded => AnswerProgress::Incomplete,
            Tracking::On if self.waiting == 0 && !self.are_amid_one() => AnswerProgress::Complete,
            Tracking::On => AnswerProgress::Incomplete,
            Tracking::Lost | Tracking::Off => AnswerProgress::Unknown,
        }
    }

    /// Whether the server's next bytes are to be [observed](Self::observe).
    pub(super) fn are_tracked(&self) -> bool {
        self.tracking == Tracking::On
    }

    /// Stops matching for the rest of the connection.
    pub(super) fn stop(&mut self) {
        *self = Self { tracking: Tracking::Off, ..Self::default() };
    }

    fn lose(&mut self) {
        *self = Self { tracking: Tracking::Lost, tunnel: self.tunnel, ..Self::default() };
    }

    /// How many of the server's next bytes are body data that need not be observed.
    pub(super) fn opaque(&self) -> u64 {
        match (self.tracking, self.body) {
            (Tracking::On, Some(body)) => body.opaque(),
            (Tracking::On, None) => 0,
            _ => u64::MAX,
        }
    }

    /// Skips so many bytes, at most [`opaque`](Self::opaque).
    pub(super) fn skip(&mut self, count: u64) {
        if let Some(body) = &mut self.body
            && body.skip(count)
        {
            self.body = None;
        }
    }

    /// Reads what the server sent. Returns whether the last protocol switch was granted, once that is known.
    pub(super) fn observe(&mut self, mut input: &[u8]) -> Option<bool> {
        let mut granted = None;
        while self.tracking == Tracking::On && !input.is_empty() {
            let used = match &mut self.body {
                Some(body) => {
                    let (used, then) = body.advance(input);
                    match then {
                        Then::More => {}
                        Then::Done => self.body = None,
                        Then::Unclear => self.lose(),
                    }
                    used
                }
                None => self.observe_head(input, &mut granted),
            };
            input = input.get(used..).unwrap_or_default();
        }
        granted
    }

    fn observe_head(&mut self, input: &[u8], granted: &mut Option<bool>) -> usize {
        let end = end_of_head(&self.head, input);
        let used = end.unwrap_or(input.len());
        if self.head.len() + used > MAX_HEAD {
            self.lose();
            return used;
        }
        let mut head = std::mem::take(&mut self.head);
        if end.is_none() {
            head.extend_from_slice(input);
            self.head = head;
            return used;
        }
        let new = input.get(..used).unwrap_or_default();
        let whole = if head.is_empty() {
            new
        } else {
            head.extend_from_slice(new);
            &head
        };
        *granted = self.answer(whole).or(*granted);
        self.head = recycle(head);
        used
    }

    /// Matches an answer to its request (RFC 9112, section 6.3).
    fn answer(&mut self, head: &[u8]) -> Option<bool> {
        let (Some((code, framing)), 1..) = (read(head), self.waiting) else {
            self.lose();
            return None;
        };
        if matches!(code, 100 | 102..=199) {
            return None;
        }
        self.waiting -= 1;
        let is_head = self.heads & 1 == 1;
        self.heads >>= 1;
        // The newest request asks for it, and each answer belongs to the oldest.
        let asked = if self.waiting == 0 { std::mem::take(&mut self.tunnel) } else { Tunnel::No };
        match (asked, code) {
            (Tunnel::Upgrade, 101) | (Tunnel::Connect, 200..=299) => {
                self.stop();
                return Some(true);
            }
            // No request asked for it: the state of the connection is unknown.
            (_, 101) => {
                self.lose();
                return None;
            }
            _ => {}
        }
        self.body = match framing {
            _ if is_head || matches!(code, 204 | 304) => None,
            Framing::Length(length) => Body::of_length(length),
            Framing::Chunked => Some(Body::chunked()),
            // The body lasts until the connection ends.
            Framing::Unstated => {
                self.lose();
                self.is_unbounded = true;
                None
            }
        };
        (asked != Tunnel::No).then_some(false)
    }
}

/// The status code of an answer, and the framing that its fields declare; `None` if it is not HTTP/1.
fn read(head: &[u8]) -> Option<(u16, Framing)> {
    let mut lines = HeadLines::of(head);
    let status = lines.next()?.text.strip_prefix(b"HTTP/1.")?;
    let (minor, rest) = status.split_at_checked(1)?;
    let (code, rest) = rest.strip_prefix(b" ")?.split_at_checked(3)?;
    if !matches!(rest.first(), None | Some(b' ')) || !code.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let code = code.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    let fields = Fields::read(lines, minor != b"0").ok()?;
    Some((code, fields.framing))
}
