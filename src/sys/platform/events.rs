//! What an event port reports of a socket, as bits.

/// The socket may be read, until a read has found nothing.
pub(in crate::sys) const READABLE: u32 = 1;
/// The socket may be written, until a write has been refused.
pub(in crate::sys) const WRITABLE: u32 = 2;
/// The peer has ended its stream, or there is no connection any more. Final, like the following.
pub(in crate::sys) const CLOSED: u32 = 4;
/// The connection has met an error.
pub(in crate::sys) const ERROR: u32 = 8;
/// Urgent data has come.
pub(in crate::sys) const URGENT: u32 = 16;
