//! The requests of one connection, rewritten as the bytes come.

use super::answers::{AnswerProgress, Answers};
use super::body::{Body, Then};
use super::forwarded::Forwarding;
use super::lines::{MAX_HEAD, end_of_head, first_line, recycle};
use super::refusal::{ANSWER, RequestRefusal};
use super::request::Request;
use super::request_line::{RequestLine, Tail, may_begin, resembles_request};

/// Adds the client's identity to the requests of one connection.
#[derive(Debug)]
pub struct Rewriter {
    forwarding: Forwarding,
    state: RewriterState,
    /// An incomplete head, or what is [held](Self::held); nothing of it has been passed on.
    head: Vec<u8>,
    /// `head` is to be read once the server has answered.
    held: bool,
    answers: Answers,
}

#[derive(Debug)]
enum RewriterState {
    /// Only line ends have come.
    Start,
    /// The first line does not begin like a request; it has been passed on as far as it has come.
    Unlike(Tail),
    /// Between requests, or within the head of one.
    Head,
    Body(Body),
    /// Everything passes unchanged.
    Opaque,
    /// Nothing more is passed on.
    Refused {
        why: RequestRefusal,
        /// Part of the body of the last passed request is missing.
        unfinished: bool,
    },
}

/// How a connection ends after a refused request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Not yet: nothing was refused, or answers to earlier requests are still to come.
    None,
    /// The client's side is closed, and the server finishes its answer.
    OfRequests,
    /// The connection ends once the client has got this answer.
    With(&'static [u8]),
}

impl Rewriter {
    /// A rewriter for a new connection.
    pub fn new(forwarding: Forwarding) -> Self {
        Self {
            forwarding,
            state: RewriterState::Start,
            head: Vec::new(),
            held: false,
            answers: Answers::default(),
        }
    }

    /// Takes bytes from the client and appends to `out` what is to be sent to the server. With empty `input` it
    /// continues with the bytes that it has [held](Self::is_ready).
    ///
    /// `on_request` gets the request line (without its line end) of each request once its head is complete, in order,
    /// including that of a refused one. Other protocols are not reported beyond their first line.
    pub fn feed(&mut self, input: &[u8], out: &mut Vec<u8>, mut on_request: impl FnMut(&[u8])) {
        if std::mem::take(&mut self.held) {
            let held = std::mem::take(&mut self.head);
            self.read(&held, out, &mut on_request);
        }
        self.read(input, out, &mut on_request);
    }

    fn read(&mut self, mut input: &[u8], out: &mut Vec<u8>, on_request: &mut impl FnMut(&[u8])) {
        while !input.is_empty() {
            if matches!(self.state, RewriterState::Head) && self.answers.are_undecidable() {
                return self.refuse(RequestRefusal::Protocol, false);
            }
            if self.held || self.must_hold() {
                self.head.extend_from_slice(input);
                self.held = true;
                return;
            }
            let used = match &mut self.state {
                RewriterState::Opaque => {
                    out.extend_from_slice(input);
                    return;
                }
                RewriterState::Refused { .. } => return,
                RewriterState::Body(body) => {
                    let (used, then) = body.advance(input);
                    out.extend(input.get(..used).unwrap_or_default());
                    match then {
                        Then::More => {}
                        Then::Done => self.state = RewriterState::Head,
                        Then::Unclear => self.refuse(RequestRefusal::Chunk, true),
                    }
                    used
                }
                RewriterState::Unlike(tail) => {
                    let end = memchr::memchr(b'\n', input);
                    let line = input.get(..end.unwrap_or(input.len())).unwrap_or_default();
                    if tail.names_version(line) {
                        self.refuse(RequestRefusal::RequestLine, false);
                        return;
                    }
                    out.extend_from_slice(line);
                    if end.is_some() {
                        self.pass_everything();
                    }
                    line.len()
                }
                RewriterState::Start | RewriterState::Head => self.read_head(input, out, on_request),
            };
            input = input.get(used..).unwrap_or_default();
        }
    }

    /// Reads bytes of a head, up to its end. Returns how many.
    fn read_head(&mut self, input: &[u8], out: &mut Vec<u8>, on_request: &mut impl FnMut(&[u8])) -> usize {
        if self.head.is_empty() {
            // Servers ignore line ends before a request (RFC 9112, section 2.2).
            let blank = input.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            if blank > 0 {
                out.extend(input.get(..blank).unwrap_or_default());
                return blank;
            }
        }
        let end = end_of_head(&self.head, input);
        let used = end.unwrap_or(input.len());
        let new = input.get(..used).unwrap_or_default();
        let mut head = std::mem::take(&mut self.head);
        let is_split = !head.is_empty() || end.is_none();
        if is_split {
            head.extend_from_slice(new);
        }
        let whole = if is_split { &head } else { new };
        if matches!(self.state, RewriterState::Start) && !self.read_start(whole, out, on_request) {
            return used;
        }
        if whole.len() > MAX_HEAD {
            on_request(first_line(whole));
            self.refuse(RequestRefusal::TooLong, false);
        } else if end.is_some() {
            on_request(first_line(whole));
            match Request::read(whole) {
                Ok(request) => {
                    let fields = &request.fields;
                    self.forwarding.write(whole, fields.are_canonical, &fields.forwarded, out);
                    self.answers.expect(&request);
                    self.state = request.body.map_or(RewriterState::Head, RewriterState::Body);
                    self.head = recycle(head);
                }
                Err(why) => self.refuse(why, false),
            }
        } else {
            // Held bytes are kept in place of a head, which is longer at most.
            self.head = head;
        }
        used
    }

    /// Reads the first line of the connection as far as it has come. False: the connection is not HTTP, or was refused.
    fn read_start(&mut self, part: &[u8], out: &mut Vec<u8>, on_request: &mut impl FnMut(&[u8])) -> bool {
        let line = first_line(part);
        if memchr::memchr(b'\n', part).is_none() {
            let waits = may_begin(line) && (line.len() <= MAX_HEAD || resembles_request(line));
            if !waits {
                on_request(line);
                self.read_unlike(part, out);
            }
            return waits;
        }
        match RequestLine::read(line) {
            Ok(Some(_)) => {
                self.state = RewriterState::Head;
                return true;
            }
            Ok(None) => {
                on_request(line);
                out.extend_from_slice(part);
                self.pass_everything();
            }
            Err(why) => {
                on_request(line);
                self.refuse(why, false);
            }
        }
        false
    }

    fn read_unlike(&mut self, part: &[u8], out: &mut Vec<u8>) {
        let mut tail = Tail::default();
        if tail.names_version(part) {
            return self.refuse(RequestRefusal::RequestLine, false);
        }
        out.extend_from_slice(part);
        self.answers.stop();
        self.state = RewriterState::Unlike(tail);
    }

    /// Ends the client's side: appends to `out` the rest that the server is to get.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if !self.held && !self.head.is_empty() {
            // Some servers take the end of the stream for the end of the head.
            let line = first_line(&self.head);
            let is_other = matches!(self.state, RewriterState::Start)
                && matches!(RequestLine::read(line), Ok(None))
                && !resembles_request(line);
            if !is_other {
                return self.refuse(RequestRefusal::Incomplete, false);
            }
            out.append(&mut self.head);
            self.pass_everything();
        }
    }

    /// How many of the client's next bytes need not be read: so many may be sent without [`feed`](Self::feed), if
    /// [`skip`](Self::skip) is called. `u64::MAX`: the rest of the connection.
    pub fn opaque(&self) -> u64 {
        match self.state {
            RewriterState::Opaque => u64::MAX,
            RewriterState::Body(body) => body.opaque(),
            _ => 0,
        }
    }

    /// Notes that `count` bytes went to the server without [`feed`](Self::feed); at most [`opaque`](Self::opaque).
    pub fn skip(&mut self, count: u64) {
        debug_assert!(count <= self.opaque(), "bytes that needed a look were skipped");
        if let RewriterState::Body(body) = &mut self.state
            && body.skip(count)
        {
            self.state = RewriterState::Head;
        }
    }

    /// Whether more of the client may be read. If not, an answer of the server must come first.
    pub fn wants_requests(&self) -> bool {
        !self.held && !matches!(self.state, RewriterState::Refused { .. })
    }

    /// Whether held bytes may continue: call [`feed`](Self::feed).
    pub fn is_ready(&self) -> bool {
        self.held && !self.must_hold()
    }

    /// Whether the next message of the client has to wait for an answer.
    fn must_hold(&self) -> bool {
        matches!(self.state, RewriterState::Head) && (self.answers.are_undecided() || self.answers.are_full())
    }

    /// How many of the server's next bytes need not be read, as with [`opaque`](Self::opaque). The others must be
    /// passed to [`observe`](Self::observe).
    pub fn opaque_answers(&self) -> u64 {
        self.answers.opaque()
    }

    /// Notes that `count` bytes of the server, at most [`opaque_answers`](Self::opaque_answers), were not observed.
    pub fn skip_answers(&mut self, count: u64) {
        self.answers.skip(count);
    }

    /// Reads bytes from the server, in order, before they are sent to the client, so that the client cannot react to an
    /// answer that is not known here.
    pub fn observe(&mut self, input: &[u8]) {
        if self.answers.observe(input) == Some(true) && !matches!(self.state, RewriterState::Refused { .. }) {
            self.state = RewriterState::Opaque;
        }
    }

    /// How far the answers have come to the requests that were passed on.
    pub fn answer_progress(&self) -> AnswerProgress {
        self.answers.progress()
    }

    /// Why a request was refused.
    pub fn refusal(&self) -> Option<RequestRefusal> {
        match self.state {
            RewriterState::Refused { why, .. } => Some(why),
            _ => None,
        }
    }

    /// How the connection is to end now.
    pub fn ending(&self) -> Ending {
        let RewriterState::Refused { unfinished, .. } = self.state else { return Ending::None };
        if !self.answers.are_tracked() || (unfinished && self.answers.waiting() == 0) {
            // The client would take another answer for part of the one that it is getting or has got.
            return Ending::OfRequests;
        }
        if self.answers.waiting() > u32::from(unfinished) || self.answers.are_amid_one() {
            return Ending::None;
        }
        Ending::With(ANSWER)
    }

    fn refuse(&mut self, why: RequestRefusal, unfinished: bool) {
        self.state = RewriterState::Refused { why, unfinished };
        self.head = Vec::new();
    }

    fn pass_everything(&mut self) {
        self.state = RewriterState::Opaque;
        self.head = Vec::new();
        self.answers.stop();
    }

    /// How many bytes of memory an idle connection holds for heads.
    #[cfg(test)]
    pub(super) fn buffered(&self) -> usize {
        self.head.capacity()
    }
}
