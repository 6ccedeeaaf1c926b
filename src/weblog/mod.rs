//! The log suite: the request log that pen writes, and the programs that put the real client addresses back into the
//! logs of the web servers behind it.
//!
//! [`entry`] is the format that all of them share, [`sink`] the writer that pen, penlogd and penlog use.

pub mod access_line;
pub mod entry;
mod escape;
mod key;
mod keyed_queue;
pub mod mergelogs;
pub mod penlog;
pub mod penlogd;
mod signals;
pub mod sink;
pub mod timestamp;

pub use entry::LogEntry;
pub use sink::{LogHandle, SinkOptions, SinkOutput, SinkTarget};
