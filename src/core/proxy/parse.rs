//! Reading a header of either version.

use super::header::{Malformed, Parsed};
use super::{v1, v2};

/// Reads the first bytes of a connection. What it says of some bytes, [`Parsed::Partial`] apart, it says of these bytes
/// whatever follows them.
///
/// # Errors
/// They begin as a header does, and are none.
pub fn parse(bytes: &[u8]) -> Result<Parsed, Malformed> {
    for (signature, parse) in [(v1::SIGNATURE, v1::parse as fn(&[u8]) -> _), (v2::SIGNATURE, v2::parse)] {
        let seen = bytes.len().min(signature.len());
        if bytes[..seen] == signature[..seen] {
            return if seen < signature.len() { Ok(Parsed::Partial) } else { parse(bytes) };
        }
    }
    Ok(Parsed::Absent)
}
