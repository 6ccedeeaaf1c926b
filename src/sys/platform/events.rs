//! The events that a port reports for a socket, as bits.

/// The socket may be readable, until a read has returned nothing.
pub(in crate::sys) const READABLE: u32 = 1;
/// The socket may be writable, until a write has been refused.
pub(in crate::sys) const WRITABLE: u32 = 2;
/// The peer has ended its stream, or the connection no longer exists. Final, like the following ones.
pub(in crate::sys) const CLOSED: u32 = 4;
/// The connection has failed.
pub(in crate::sys) const ERROR: u32 = 8;
/// Urgent data has arrived.
pub(in crate::sys) const URGENT: u32 = 16;
