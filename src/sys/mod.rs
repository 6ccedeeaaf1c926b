//! What pen asks of the operating system and the standard library does not offer.
//!
//! This is the only home of `unsafe`, and little is left of it: `fork`, `openlog`, one ioctl, a
//! promise to tokio, the control messages of datagrams and, on Solaris, `setppriv`.
//! Everything that only Linux has (splice, transparent sockets, the dumpable flag, the count of unacknowledged bytes, an
//! event port that tells all) is behind one inner module with two bodies, `linux.rs` (and `epoll.rs`) and `portable.rs`; what Solaris has
//! too is where it is used: the rights that outlive root in `serving`, the addresses of datagrams in `datagram`. On Linux
//! the environment variable `PEN_PORTABLE=1`, read once, makes pen behave as if it were elsewhere, so that tests cover
//! both ways with one build.

pub mod crash;
pub mod daemon;
pub mod datagram;
pub mod limits;
pub mod listen;
pub mod log;
pub mod pidfile;
pub mod privileges;
pub mod resolve;
mod serving;
pub mod socket;
pub mod splice;
pub mod tls;

#[cfg_attr(target_os = "linux", path = "linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "portable.rs")]
mod platform;

use std::fmt::Display;
use std::io;

/// The same kind of error with what was being done in front of it.
fn context(what: impl Display, error: impl Into<io::Error>) -> io::Error {
    let error = error.into();
    io::Error::new(error.kind(), format!("{what}: {error}"))
}
