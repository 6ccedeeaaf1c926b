//! The PROXY header at the beginning of a connection.

use crate::core::Millis;
use crate::core::proxy::{Header, ParsedHeader, parse};
use crate::net::first_bytes::{Undecided, read_until};
use crate::net::socket::Socket;

use super::faults::ProxyFault;

/// Reads the header at the beginning of a connection, within `limit`. Data received with it is put back; without a
/// header everything is, unless one is `required`.
///
/// # Errors
/// Why the connection must be closed.
pub(in crate::net) async fn receive(
    socket: &mut Socket,
    required: bool,
    limit: Millis,
) -> Result<Header, ProxyFault> {
    let mut bytes = Vec::new();
    // The parser needs no more than the longest header.
    let bounds = (usize::MAX, limit);
    let found = read_until(socket, &mut bytes, bounds, |bytes, ended| header(bytes, ended, required)).await;
    let (header, length) = found.map_err(|why| match why {
        Undecided::Late => ProxyFault::Late(limit),
        Undecided::Broken(error) => ProxyFault::Broken(error),
    })??;
    socket.put_back(bytes.split_off(length));
    Ok(header)
}

/// The header and its length; `None` if more bytes are needed.
fn header(bytes: &[u8], ended: bool, required: bool) -> Option<Result<(Header, usize), ProxyFault>> {
    Some(match parse(bytes) {
        Err(malformed) => Err(ProxyFault::Malformed(malformed)),
        Ok(ParsedHeader::Complete(header, length)) => Ok((header, length)),
        Ok(ParsedHeader::Partial) if !ended => return None,
        Ok(ParsedHeader::Partial | ParsedHeader::Absent) if !required => Ok((Header::default(), 0)),
        Ok(ParsedHeader::Absent) => Err(ProxyFault::Absent),
        Ok(ParsedHeader::Partial) if bytes.is_empty() => Err(ProxyFault::Empty),
        Ok(ParsedHeader::Partial) => Err(ProxyFault::CutOff),
    })
}
