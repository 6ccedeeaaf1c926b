//! HTTP mode (`-H`): tells the server in every request who the client is.
//!
//! [`Rewriter`] reads the bytes of one client as HTTP/1 (RFC 9112) and puts `X-Forwarded-Proto: http|https` and
//! `X-Forwarded-For: CLIENT` at the end of each request head. It does no I/O and owns no connection: what it returns can
//! be sent to any server, or to one after another.
//!
//! # No request without the fields
//!
//! Servers trust pen, so a request that reaches one without pen's fields would count as pen's own. Anything that some
//! server accepts as a request is therefore treated as one: any method, any bytes in its target, lines that end in LF
//! alone, folded lines. A head is passed on when it is complete. If its lines do not follow RFC 9112 it is rewritten
//! line by line, so that every server sees the fields that pen sees.
//!
//! A message that servers may read in different ways reaches none of them: the client gets the answer 400, after those
//! to its earlier requests, and the connection ends. That applies to NUL and to CR without LF, to lines that are not
//! fields, to contradictory or unclear framing (two Content-Length fields, or one beside Transfer-Encoding; a transfer
//! coding other than `chunked`, or any in HTTP/1.0), to chunks outside the grammar, to HTTP/0.9, to heads beyond 64 KiB
//! and to heads cut off by the end of the client's stream. So pen's fields never change where a server sees a message
//! begin: they cannot make request smuggling possible.
//!
//! # Other protocols
//!
//! A connection whose first line is not HTTP/1 passes unchanged, as without `-H`. After a request with `Connection:
//! upgrade` and Upgrade, or CONNECT, anything may follow: it waits until the answer has come, which
//! [`Rewriter::observe`] reads. After 101, or 2xx to CONNECT, everything passes; after any other answer HTTP goes on.

mod answers;
mod body;
mod field;
mod fields;
mod forwarded;
mod lines;
mod refusal;
mod request;
mod request_line;
mod rewriter;
#[cfg(test)]
mod tests;

pub use answers::AnswerProgress;
pub use forwarded::Forwarding;
pub use refusal::RequestRefusal;
pub use rewriter::{Ending, Rewriter};
