//! PROXY headers: received from a proxy in front of pen, and sent to servers.

mod faults;
mod receive;
mod send;

pub use faults::Faults;
pub(super) use receive::receive;
pub(super) use send::Caller;
