//! HTTP mode as a black box: bytes in, bytes out.

use super::{AnswerProgress, Ending, Forwarding, RequestRefusal, Rewriter};
use crate::core::settings::HttpForwarded;

mod answers;
mod forwarded;
mod framing;
mod heads;
mod properties;

const PROTO: &str = "X-Forwarded-Proto: http\r\n";
const FOR: &str = "X-Forwarded-For: 192.0.2.7\r\n";

fn forwarding() -> Forwarding {
    Forwarding { client: "192.0.2.7".parse().ok(), https: false, policy: HttpForwarded::Keep, rfc7239: false }
}

fn rewriter() -> Rewriter {
    Rewriter::new(forwarding())
}

fn show(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// What happened to a client's stream.
#[derive(Debug, PartialEq, Eq)]
struct RewrittenStream {
    server: Vec<u8>,
    lines: Vec<String>,
    ending: Ending,
}

/// Feeds the pieces and ends.
fn run(mut rewriter: Rewriter, pieces: &[&[u8]]) -> RewrittenStream {
    let (mut server, mut lines) = (Vec::new(), Vec::new());
    for piece in pieces {
        rewriter.feed(piece, &mut server, |line| lines.push(show(line)));
    }
    if rewriter.refusal().is_none() {
        rewriter.finish(&mut server);
    }
    RewrittenStream { server, lines, ending: rewriter.ending() }
}

/// What the server gets, which must not depend on the split.
#[track_caller]
fn passed(input: &[u8]) -> RewrittenStream {
    let whole = run(rewriter(), &[input]);
    let pieces: Vec<&[u8]> = input.chunks(1).collect();
    let bytewise = run(rewriter(), &pieces);
    assert_eq!(show(&bytewise.server), show(&whole.server), "byte by byte");
    assert_eq!(bytewise.ending, whole.ending, "byte by byte");
    whole
}

#[track_caller]
fn assert_rewritten(input: impl AsRef<[u8]>, expected: impl AsRef<[u8]>) {
    let seen = passed(input.as_ref());
    assert_eq!(show(&seen.server), show(expected.as_ref()));
    assert_eq!(seen.ending, Ending::None);
}

/// The server gets nothing of it, and the client the answer 400.
#[track_caller]
fn assert_refused(input: impl AsRef<[u8]>) {
    let seen = passed(input.as_ref());
    assert_eq!(show(&seen.server), "", "of {}", show(input.as_ref()));
    assert!(matches!(seen.ending, Ending::With(answer) if answer.starts_with(b"HTTP/1.1 400 ")));
}

/// Passes as it is, with a request after it too.
#[track_caller]
fn assert_opaque(input: impl AsRef<[u8]>) {
    let input = [input.as_ref(), b"GET / HTTP/1.1\r\n\r\n"].concat();
    assert_rewritten(&input, &input);
}

/// One request after `head`, with all lines inserted into both.
#[track_caller]
fn assert_followed_by_request(head: &str, body: &str) {
    assert_rewritten(
        format!("{head}\r\n{body}GET /2 HTTP/1.1\r\n\r\n"),
        format!("{head}{PROTO}{FOR}\r\n{body}GET /2 HTTP/1.1\r\n{PROTO}{FOR}\r\n"),
    );
}
