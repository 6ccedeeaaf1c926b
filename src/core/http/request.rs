//! Reading the complete head of a request.

use super::body::Body;
use super::fields::{Fields, Framing};
use super::lines::{HeadLines, has_stray_bytes};
use super::refusal::RequestRefusal;
use super::request_line::{HttpVersion, RequestLine};

/// A protocol that a request asks to switch to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Tunnel {
    /// None.
    #[default]
    No,
    /// One named in its Upgrade field: begins with a 101 answer (RFC 9110, section 7.8).
    Upgrade,
    /// The one of a CONNECT request: begins with a 2xx answer (RFC 9110, section 9.3.6).
    Connect,
}

/// What the rewriter needs to know of a request.
#[derive(Debug)]
pub(super) struct Request {
    /// Its body, unless empty.
    pub(super) body: Option<Body>,
    /// It is a HEAD request, whose answer has no body.
    pub(super) is_head: bool,
    /// The protocol asked for.
    pub(super) tunnel: Tunnel,
    pub(super) fields: Fields,
}

impl Request {
    /// Reads a head with the empty line at its end.
    ///
    /// # Errors
    /// Servers do not agree on its meaning or where the message ends.
    pub(super) fn read(head: &[u8]) -> Result<Self, RequestRefusal> {
        if has_stray_bytes(head) {
            return Err(RequestRefusal::StrayBytes);
        }
        let mut lines = HeadLines::of(head);
        let first = lines.next().ok_or(RequestRefusal::RequestLine)?;
        // A line that seems to continue the first one is a field to some servers.
        if first.text.contains(&b'\n') {
            return Err(RequestRefusal::FieldLine);
        }
        let line = RequestLine::read(first.text)?.ok_or(RequestRefusal::RequestLine)?;
        let mut fields = Fields::read(lines, line.version == HttpVersion::Http11)?;
        if !fields.are_regular {
            return Err(RequestRefusal::FieldLine);
        }
        fields.are_canonical &= first.is_canonical && head.ends_with(b"\r\n");
        let tunnel = match (line.method, fields.upgrade) {
            // Content in a CONNECT request has no meaning (RFC 9110, section 9.3.6): nothing tells where the tunnel
            // begins.
            (b"CONNECT", upgrade) if upgrade || fields.framing != Framing::Unstated => {
                return Err(RequestRefusal::Framing);
            }
            // A server that answers any other target with 2xx has not begun a tunnel.
            (b"CONNECT", _) if !is_authority(line.target) => return Err(RequestRefusal::RequestLine),
            (b"CONNECT", _) => Tunnel::Connect,
            (_, true) => Tunnel::Upgrade,
            (_, false) => Tunnel::No,
        };
        let body = match fields.framing {
            Framing::Unstated => None,
            Framing::Length(length) => Body::of_length(length),
            Framing::Chunked => Some(Body::chunked()),
        };
        Ok(Request { body, is_head: line.method == b"HEAD", tunnel, fields })
    }
}

/// Whether a target is `HOST:PORT` (RFC 9112, section 3.2.3).
fn is_authority(target: &[u8]) -> bool {
    let Some(colon) = memchr::memrchr(b':', target) else { return false };
    let (host, port) = target.split_at_checked(colon).unwrap_or_default();
    !host.is_empty() && !host.contains(&b'/') && port.len() > 1 && port.iter().skip(1).all(u8::is_ascii_digit)
}
