//! The PROXY protocol (HAProxy's proxy-protocol.txt), versions 1 and 2: a header with the client's addresses that a
//! proxy sends before the client's own bytes.

mod checksum;
mod fault;
mod header;
mod parse;
pub mod print;
mod tlv;
mod v1;
mod v2;

pub use fault::{HeaderFault, HeaderFaults};
pub use header::{Addresses, Header, Malformed, ParsedHeader};
pub use parse::parse;
pub use tlv::{ClientCertificate, TlsFacts};

#[cfg(test)]
mod tests;
