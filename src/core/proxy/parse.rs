//! Parses a header of either version.

use super::header::{Malformed, ParsedHeader};
use super::{v1, v2};

/// Parses the first bytes of a connection. Any result except [`ParsedHeader::Partial`] is final: further bytes do not change
/// it.
///
/// # Errors
/// They begin like a header, but are not a valid one.
pub fn parse(bytes: &[u8]) -> Result<ParsedHeader, Malformed> {
    for (signature, parse) in [(v1::SIGNATURE, v1::parse as fn(&[u8]) -> _), (v2::SIGNATURE, v2::parse)] {
        let seen = bytes.len().min(signature.len());
        if bytes[..seen] == signature[..seen] {
            return if seen < signature.len() { Ok(ParsedHeader::Partial) } else { parse(bytes) };
        }
    }
    Ok(ParsedHeader::Absent)
}
