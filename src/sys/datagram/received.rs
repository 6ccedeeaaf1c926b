//! Types for received datagrams.

use super::peer::Peer;

/// The maximum size of a datagram over IPv6 (RFC 768, 8200), in bytes; over IPv4 it is 65,507.
pub const DATAGRAM_MAX: usize = 65_527;

/// The maximum number of datagrams per call.
pub(super) const BATCH_MAX: usize = 64;

/// The length of a datagram, and its sender if known.
pub(super) type ReceivedDatagram = (usize, Option<Peer>);
