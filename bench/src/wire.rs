//! The protocol between client and server of the bench: three fixed requests, one fixed answer.

/// Asks for one answer; the connection stays open.
pub(crate) const KEEP: &[u8] =
    b"GET /keep HTTP/1.1\r\nHost: bench.example\r\nUser-Agent: pen-bench\r\nAccept: */*\r\n\r\n";
/// Requests one answer, after which the server closes.
pub(crate) const CLOSE: &[u8] =
    b"GET /close HTTP/1.1\r\nHost: bench.example\r\nUser-Agent: pen-bench\r\nConnection: close\r\n\r\n";
/// Requests zeros until the client disconnects.
pub(crate) const BULK: &[u8] = b"GET /bulk HTTP/1.1\r\nHost: bench.example\r\nUser-Agent: pen-bench\r\n\r\n";
/// The byte after `GET /` distinguishes the requests.
pub(crate) const KIND_AT: usize = 5;
/// The answer to [`KEEP`] and [`CLOSE`]: 128 bytes of body, 194 bytes in all.
pub(crate) const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 128\r\n\r\n\
0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\
0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde\n";
