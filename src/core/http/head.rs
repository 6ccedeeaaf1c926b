//! Reading one complete message head with `httparse`, and finding where it ends.
//!
//! `httparse` forgives bare LF line ends. A server that does not would see another head than we do, so a bare LF is
//! refused here, as is everything else that decides where a body ends and that two servers may read differently.

use std::mem::MaybeUninit;

use httparse::{Header, ParserConfig, Status};

use super::body::Body;

/// Longest head that is looked at, in bytes.
pub(super) const MAX_HEAD: usize = 64 * 1024;

/// Most header lines of a head that is looked at.
const MAX_HEADERS: usize = 256;

/// A buffer for parts of heads that grew beyond this is freed with the head: an idle connection stays small. In bytes.
const KEEP_CAPACITY: usize = 1024;

/// The buffer emptied for the next head, or none if it is large.
pub(super) fn recycle(mut buffer: Vec<u8>) -> Vec<u8> {
    if buffer.capacity() > KEEP_CAPACITY {
        return Vec::new();
    }
    buffer.clear();
    buffer
}

/// What [`scan`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scan {
    /// The head ends after so many bytes of the input.
    End(usize),
    /// A line ends in LF without CR.
    BareLf,
    /// The head goes on.
    More,
}

/// Looks for the empty line that ends a head of which `before` came earlier.
pub(super) fn scan(before: &[u8], input: &[u8]) -> Scan {
    let earlier = |at: usize, back: usize| match at.checked_sub(back) {
        Some(index) => input.get(index),
        None => before.len().checked_sub(back - at).and_then(|index| before.get(index)),
    };
    for at in memchr::memchr_iter(b'\n', input) {
        if earlier(at, 1) != Some(&b'\r') {
            return Scan::BareLf;
        }
        if matches!(earlier(at, 2), None | Some(b'\n')) {
            return Scan::End(at + 1);
        }
    }
    Scan::More
}

/// A protocol that a request asks to go on with in place of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tunnel {
    /// None.
    No,
    /// One named in its Upgrade header: begins with a 101 answer (RFC 9110, section 7.8).
    Upgrade,
    /// The one of a CONNECT request: begins with a 2xx answer (RFC 9110, section 9.3.6).
    Connect,
}

/// What the answer to a request depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    /// A HEAD request, whose answer has no body.
    pub(super) head: bool,
    /// The protocol asked for.
    pub(super) tunnel: Tunnel,
}

/// What is needed to know of a request.
#[derive(Debug)]
pub(super) struct Request {
    /// Its body, unless empty.
    pub(super) body: Option<Body>,
    /// What its answer depends on.
    pub(super) ask: Ask,
    /// No other request can follow it (HTTP/1.0 without keep-alive).
    pub(super) last: bool,
    /// It brought an X-Forwarded-For header.
    pub(super) has_for: bool,
    /// It brought an X-Forwarded-Proto header.
    pub(super) has_proto: bool,
}

/// What is needed to know of an answer.
#[derive(Debug)]
pub(super) struct Answer {
    /// Its status code.
    pub(super) code: u16,
    /// The framing that its headers tell.
    pub(super) framing: Framing,
}

/// The body that the headers of a message tell of, before method and status have their say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// Neither length nor transfer coding.
    Unstated,
    /// A Content-Length, in bytes.
    Length(u64),
    /// Transfer-Encoding: chunked.
    Chunked,
}

type Headers<'a> = [MaybeUninit<Header<'a>>; MAX_HEADERS];

fn no_headers<'a>() -> Headers<'a> {
    [const { MaybeUninit::uninit() }; MAX_HEADERS]
}

/// Whether `part` may be the beginning of a request head.
pub(super) fn may_be_request(part: &[u8]) -> bool {
    let mut headers = no_headers();
    httparse::Request::new(&mut []).parse_with_uninit_headers(part, &mut headers).is_ok()
}

/// Reads a request head that ends with `head`; `None` if it is not one that every server reads alike.
pub(super) fn read_request(head: &[u8]) -> Option<Request> {
    let mut headers = no_headers();
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(head, &mut headers) {
        Ok(Status::Complete(length)) if length == head.len() => {}
        _ => return None,
    }
    let http10 = request.version? == 0;
    let fields = Fields::read(request.headers, http10)?;
    let body = match fields.framing {
        Framing::Unstated => None,
        Framing::Length(length) => Body::of_length(length),
        Framing::Chunked => Some(Body::chunked()),
    };
    let tunnel = match (request.method?, fields.upgrade) {
        // RFC 9110, 9.3.6: content in a CONNECT request has no meaning, so nothing tells where the tunnel begins.
        ("CONNECT", true) => return None,
        ("CONNECT", false) if fields.framing != Framing::Unstated => return None,
        ("CONNECT", false) => Tunnel::Connect,
        (_, true) => Tunnel::Upgrade,
        (_, false) => Tunnel::No,
    };
    Some(Request {
        body,
        ask: Ask { head: request.method == Some("HEAD"), tunnel },
        last: http10 && !fields.keep_alive,
        has_for: fields.has_for,
        has_proto: fields.has_proto,
    })
}

/// Reads an answer's head that ends with `head`; `None` as for [`read_request`].
pub(super) fn read_answer(head: &[u8]) -> Option<Answer> {
    let mut headers = no_headers();
    let mut answer = httparse::Response::new(&mut []);
    match ParserConfig::default().parse_response_with_uninit_headers(&mut answer, head, &mut headers) {
        Ok(Status::Complete(length)) if length == head.len() => {}
        _ => return None,
    }
    let fields = Fields::read(answer.headers, answer.version? == 0)?;
    Some(Answer { code: answer.code?, framing: fields.framing })
}

/// The headers that count.
struct Fields {
    framing: Framing,
    upgrade: bool,
    keep_alive: bool,
    has_for: bool,
    has_proto: bool,
}

impl Fields {
    /// Reads them; `None` when they leave doubt where the body ends.
    fn read(headers: &[Header<'_>], http10: bool) -> Option<Self> {
        let mut fields = Self {
            framing: Framing::Unstated,
            upgrade: false,
            keep_alive: false,
            has_for: false,
            has_proto: false,
        };
        for header in headers {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            // By length first: most headers are none of these.
            match header.name.len() {
                7 if is("upgrade") => fields.upgrade = true,
                10 if is("connection") => fields.keep_alive |= has_word(header.value, b"keep-alive"),
                14 if is("content-length") => {
                    fields.set_framing(Framing::Length(decimal(header.value)?))?;
                }
                15 if is("x-forwarded-for") => fields.has_for = true,
                17 if is("x-forwarded-proto") => fields.has_proto = true,
                17 if is("transfer-encoding") => {
                    // RFC 9112, 6.1: faulty in HTTP/1.0; other codings than this one are hardly ever understood.
                    if http10 || !header.value.eq_ignore_ascii_case(b"chunked") {
                        return None;
                    }
                    fields.set_framing(Framing::Chunked)?;
                }
                _ => {}
            }
        }
        Some(fields)
    }

    /// Takes the one word on framing; a second one, even the same again, is what smuggling is made of.
    fn set_framing(&mut self, framing: Framing) -> Option<()> {
        (self.framing == Framing::Unstated).then(|| self.framing = framing)
    }
}

/// Whether a comma-separated list holds `word`, in any case.
fn has_word(list: &[u8], word: &[u8]) -> bool {
    list.split(|&byte| byte == b',').any(|item| item.trim_ascii().eq_ignore_ascii_case(word))
}

/// A Content-Length: decimal digits alone, below 2 to the 64th.
fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0_u64, |sum, byte| match byte {
        b'0'..=b'9' => sum.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })
}
