//! HTTP mode (`-H`): says in every request who the client is.
//!
//! [`Rewriter`] reads the bytes of one client as HTTP/1.x (RFC 9112) and puts the missing ones of
//! `X-Forwarded-Proto: http|https` and `X-Forwarded-For: CLIENT` just before the empty line that ends each request
//! head. It does no I/O and owns no connection: what it returns can be sent to any server, or to one after another.
//!
//! # Never touch a body
//!
//! That outranks "every request". A line is inserted only where the end of a head is certain, that is where every
//! server that answers the request at all must see the same end. At the first doubt the rest of the connection passes
//! as it came, which is what pen does without `-H`. Doubtful are: anything `httparse` does not take for HTTP/1.0 or
//! HTTP/1.1 (folded headers, blanks before a colon, control characters), line ends without CR, a head beyond 64 KiB
//! or 256 lines, more than one Content-Length, one that is not a plain number, one beside Transfer-Encoding, another
//! Transfer-Encoding than `chunked`, any in HTTP/1.0, chunks outside the grammar, CONNECT with a body, and what
//! follows an HTTP/1.0 request without keep-alive. So the insertion gives no server another view of where messages
//! begin than the client's own bytes give it: it cannot make request smuggling possible.
//!
//! # Other protocols
//!
//! After a request with an Upgrade header, or CONNECT, the bytes that follow may be anything. Whether they are still
//! HTTP is for the answer to say, which [`Rewriter::observe`] reads when this was the connection's first request, or
//! followed such a first one. Bytes that the client sends before that answer came, and all after it on a connection
//! whose answers were not followed from the start, are taken for the other protocol.
//!
//! # Nothing waits
//!
//! All bytes of an incomplete head are handed on at once, and only a copy is kept for `httparse`. The one exception is
//! a CR at the beginning of a line: it may belong to the empty line and is held until the next byte tells.

use std::io::Write as _;
use std::net::IpAddr;

mod answers;
mod body;
mod head;
#[cfg(test)]
mod tests;

use answers::Answers;
use body::{Body, Then};
use head::{MAX_HEAD, Request, Scan, Tunnel, may_be_request, read_request, recycle, scan};

/// Inserts the client's address into the requests of one connection.
#[derive(Debug)]
pub struct Rewriter {
    client: Option<IpAddr>,
    https: bool,
    state: State,
    /// A copy of the incomplete head, all of it handed on but for a held CR.
    head: Vec<u8>,
    /// The last byte of `head` is a CR that was not handed on.
    held: bool,
    /// Another protocol was asked for, and the answer is not known.
    undecided: bool,
    following: Following,
}

#[derive(Debug)]
enum State {
    Head,
    Body(Body),
    /// The request that asks for another protocol is complete, its answer is not known.
    Undecided,
    Opaque,
}

/// Whether it is known which answer belongs to which request.
#[derive(Debug)]
enum Following {
    /// No request yet, and no answer.
    Fresh,
    On(Box<Answers>),
    Off,
}

impl Rewriter {
    /// A rewriter for a connection of `client` (an IPv4-mapped address counts as IPv4), which came over TLS if `https`.
    ///
    /// A client of a Unix socket has no address: its requests get no X-Forwarded-For.
    pub fn new(client: Option<IpAddr>, https: bool) -> Self {
        Self {
            client: client.map(|address| address.to_canonical()),
            https,
            state: State::Head,
            head: Vec::new(),
            held: false,
            undecided: false,
            following: Following::Fresh,
        }
    }

    /// Takes bytes from the client and appends to `out` what is to be sent to the server.
    ///
    /// `on_request` gets the request line (without its line end) of each request once its head is complete, in order,
    /// and at most once the first line of what could not be read as a request, as far as it has come. The content
    /// of tunnels and of everything after doubt is not reported.
    pub fn feed(&mut self, mut input: &[u8], out: &mut Vec<u8>, mut on_request: impl FnMut(&[u8])) {
        while !input.is_empty() {
            let used = match &mut self.state {
                State::Opaque => {
                    self.release(out);
                    out.extend_from_slice(input);
                    return;
                }
                State::Undecided => {
                    self.give_up();
                    0
                }
                State::Body(body) => {
                    let (used, then) = body.advance(input);
                    out.extend(input.get(..used).unwrap_or_default());
                    match then {
                        Then::More => {}
                        Then::Done => self.end_message(),
                        Then::Unclear => self.give_up(),
                    }
                    used
                }
                State::Head => self.feed_head(input, out, &mut on_request),
            };
            input = input.get(used..).unwrap_or_default();
        }
    }

    /// Ends the client's side: appends to `out` what was held.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.release(out);
        self.give_up();
    }

    /// Appends the held CR, if any.
    fn release(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.held) {
            out.push(b'\r');
        }
    }

    /// How many of the client's next bytes pass without a look: so many may be sent as they come, without
    /// [`feed`](Self::feed), if [`skip`](Self::skip) is told. `u64::MAX`: all that will ever come.
    pub fn opaque(&self) -> u64 {
        match self.state {
            State::Opaque if self.held => 0,
            State::Opaque => u64::MAX,
            State::Body(body) => body.opaque(),
            State::Head | State::Undecided => 0,
        }
    }

    /// Notes that `count` bytes went to the server without [`feed`](Self::feed); at most [`opaque`](Self::opaque).
    pub fn skip(&mut self, count: u64) {
        debug_assert!(count <= self.opaque(), "bytes that needed a look were skipped");
        if let State::Body(body) = &mut self.state
            && body.skip(count)
        {
            self.end_message();
        }
    }

    /// Whether the server's next bytes are to be shown to [`observe`](Self::observe).
    pub fn wants_answers(&self) -> bool {
        !matches!(self.following, Following::Off)
    }

    /// Takes bytes from the server, all of them in order while [`wants_answers`](Self::wants_answers), each before it
    /// is sent to the client, so that the client cannot act on an answer that is not known here.
    pub fn observe(&mut self, input: &[u8]) {
        let answers = match &mut self.following {
            Following::On(answers) => answers,
            // A server that speaks first: its words cannot be paired with requests.
            _ if input.is_empty() => return,
            _ => return self.following = Following::Off,
        };
        let granted = answers.observe(input);
        let lost = answers.is_lost();
        match granted {
            Some(false) => {
                self.undecided = false;
                if matches!(self.state, State::Undecided) {
                    self.state = State::Head;
                }
            }
            Some(true) => self.give_up(),
            None => {}
        }
        if lost {
            self.following = Following::Off;
        }
    }

    /// Takes bytes of a head, up to its end. Returns how many; none when they only brought doubt.
    fn feed_head(&mut self, input: &[u8], out: &mut Vec<u8>, on_request: &mut impl FnMut(&[u8])) -> usize {
        let found = scan(&self.head, input);
        let used = if let Scan::End(end) = found { end } else { input.len() };
        let new = input.get(..used).unwrap_or_default();
        let mut copy = std::mem::take(&mut self.head);
        let split = !copy.is_empty();
        let fits = copy.len() + new.len() <= MAX_HEAD;
        if split && fits {
            copy.extend_from_slice(new);
        }
        let whole = if split { &copy } else { new };
        match found {
            Scan::End(_) if whole == b"\r\n" => {
                // RFC 9112, 2.2: an empty line before a request is to be ignored.
                out.extend_from_slice(new);
                self.head = recycle(copy);
                return used;
            }
            Scan::End(_) if fits => {
                // A held CR was the first half of the empty line exactly if only its LF was still to come.
                if let Some(request) = read_request(whole).filter(|_| self.held == (used == 1)) {
                    on_request(first_line(whole));
                    self.held = false;
                    out.extend(new.get(..used.saturating_sub(2)).unwrap_or_default());
                    self.insert(&request, out);
                    out.extend_from_slice(b"\r\n");
                    self.head = recycle(copy);
                    self.begin_message(&request);
                    return used;
                }
            }
            Scan::More if fits => {
                // Reading every piece again would cost the square of their number: the first one tells what is not HTTP
                // at all, the end of the head tells the rest.
                let hold = whole.ends_with(b"\n\r");
                if (split && !hold) || may_be_request(whole) {
                    if std::mem::replace(&mut self.held, hold) {
                        out.push(b'\r');
                    }
                    out.extend(new.get(..used - usize::from(hold)).unwrap_or_default());
                    if !split {
                        copy.extend_from_slice(new);
                    }
                    self.head = copy;
                    return used;
                }
            }
            _ => {}
        }
        let line = first_line(whole);
        if !line.is_empty() {
            on_request(line);
        }
        self.give_up();
        0
    }

    /// Appends the lines that the request lacks.
    fn insert(&self, request: &Request, out: &mut Vec<u8>) {
        if !request.has_proto {
            let line: &[u8] =
                if self.https { b"X-Forwarded-Proto: https\r\n" } else { b"X-Forwarded-Proto: http\r\n" };
            out.extend_from_slice(line);
        }
        if let (false, Some(client)) = (request.has_for, self.client) {
            // Writing to a Vec cannot fail.
            let _ = write!(out, "X-Forwarded-For: {client}\r\n");
        }
    }

    /// Goes on after the head of a request.
    fn begin_message(&mut self, request: &Request) {
        let asks = request.ask.tunnel != Tunnel::No;
        if asks && matches!(self.following, Following::Fresh) {
            self.following = Following::On(Box::default());
        }
        let followed = match &mut self.following {
            Following::On(answers) => answers.expect(request.ask),
            Following::Fresh | Following::Off => false,
        };
        if !followed {
            self.following = Following::Off;
        }
        if request.last {
            return self.give_up();
        }
        self.undecided = asks;
        match request.body {
            Some(body) => self.state = State::Body(body),
            None => self.end_message(),
        }
    }

    /// Goes on after a request.
    fn end_message(&mut self) {
        self.state = if self.undecided { State::Undecided } else { State::Head };
    }

    /// Lets everything from here on pass as it comes.
    ///
    /// A held CR stays held: the next bytes, or the end, bring it out.
    fn give_up(&mut self) {
        self.state = State::Opaque;
        self.head = Vec::new();
        self.undecided = false;
        self.following = Following::Off;
    }
}

/// The first line of a message, or what there is of it, without its line end.
fn first_line(message: &[u8]) -> &[u8] {
    let line = message.split(|&byte| byte == b'\n').next().unwrap_or_default();
    line.strip_suffix(b"\r").unwrap_or(line)
}
