//! Why a request is not passed to a server.

use std::fmt;

/// The answer that the client gets.
pub(super) const ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
Content-Type: text/plain\r\nContent-Length: 12\r\nConnection: close\r\n\r\nBad request\n";

/// A fault that servers would read in different ways, so that none may get the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestRefusal {
    /// The head is longer than 64 KiB.
    TooLong,
    /// It contains NUL, or CR not followed by LF.
    StrayBytes,
    /// The first line is not a request line of HTTP/1.0 or later.
    RequestLine,
    /// A line is not a field, or white space is misplaced.
    FieldLine,
    /// The fields do not determine where the body ends.
    Framing,
    /// A chunked body is not well-formed.
    Chunk,
    /// The client ended its stream within the head.
    Incomplete,
    /// A request before it asked for another protocol, and an answer was such that the decision cannot be known.
    Protocol,
}

impl fmt::Display for RequestRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RequestRefusal::TooLong => "the head is longer than 64 KiB",
            RequestRefusal::StrayBytes => "the head holds NUL, or CR without LF",
            RequestRefusal::RequestLine => "the request line is not one of HTTP/1.0 or HTTP/1.1",
            RequestRefusal::FieldLine => "the head has a line that is not a field",
            RequestRefusal::Framing => {
                "Content-Length and Transfer-Encoding do not tell for certain where the body ends"
            }
            RequestRefusal::Chunk => "the chunked body is malformed",
            RequestRefusal::Incomplete => "the client ended its stream within the head",
            RequestRefusal::Protocol => "whether the server has changed to another protocol is unknown",
        })
    }
}
