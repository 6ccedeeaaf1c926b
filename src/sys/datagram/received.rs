//! What is known of a datagram that was received.

use super::peer::Peer;

/// The largest datagram that there can be over IPv6 (RFC 768, 8200), in bytes; over IPv4 it is 65,507.
pub const DATAGRAM_MAX: usize = 65_527;

/// The most datagrams that one call receives.
pub(super) const BATCH_MAX: usize = 8;

/// The length of a datagram, and who sent it where that is known.
pub(super) type Received = (usize, Option<Peer>);
