//! PROXY headers: what a proxy in front of pen says of its clients, and what pen says to servers.

mod faults;
mod receive;
mod send;

pub use faults::Faults;
pub(super) use receive::receive;
pub(super) use send::Caller;
