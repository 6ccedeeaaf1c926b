//! The log suite: what pen logs of each request, and the programs that put the real client addresses back into the
//! logs of the web servers behind it.
//!
//! [`mod@line`] is the format that all of them share, [`sink`] the writer that pen, penlogd and penlog use.

pub mod combined;
mod health;
pub mod key;
pub mod keyed;
pub mod line;
pub mod matcher;
pub mod merge;
pub mod mergelogs;
mod output;
pub mod penlog;
pub mod penlogd;
pub mod sink;
pub mod stamp;
mod target;

pub use line::Entry;
pub use sink::LogHandle;
pub use target::Target;
