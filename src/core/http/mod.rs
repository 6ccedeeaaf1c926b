//! HTTP mode (`-H`): says in every request who the client is.
//!
//! [`Rewriter`] reads the bytes of one client as HTTP/1 (RFC 9112) and puts `X-Forwarded-Proto: http|https` and
//! `X-Forwarded-For: CLIENT` at the end of each request head. It does no I/O and owns no connection: what it returns can
//! be sent to any server, or to one after another.
//!
//! # No request without them
//!
//! Servers believe pen, so a request that reaches one without pen's fields passes for pen's own. Whatever some server
//! takes for a request is therefore treated as one: any method, any bytes in its target, lines that end in LF alone,
//! folded lines. A head is passed on when it is complete. One whose lines are not as RFC 9112 wants them is
//! written anew, line by line, so that every server sees the fields that pen sees.
//!
//! What servers may read in different ways reaches none: the client gets the answer 400, after those to its earlier
//! requests, and the connection ends. That is so for NUL and for CR without LF, for lines that are no fields, for more
//! than one word on where the body ends or one that is not plain (Content-Length twice, or beside Transfer-Encoding; a
//! transfer coding other than `chunked`, or any in HTTP/1.0), for chunks outside the grammar, for HTTP/0.9, for heads
//! beyond 64 KiB and for those that end with the client's stream. So pen's fields never change where a server sees a
//! message begin: they cannot make request smuggling possible.
//!
//! # Other protocols
//!
//! A connection whose first line is not one of HTTP/1 passes as it comes, as without `-H`. After a request with
//! `Connection: upgrade` and Upgrade, or CONNECT, what follows may be anything: it waits until the answer has come, which
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

pub use forwarded::Forwarding;
pub use refusal::Refusal;
pub use rewriter::{Ending, Rewriter};
