//! TLS towards servers.
//!
//! As towards clients, all files are read before a change is in force ([`UpstreamTls::load`]), and each worker has a context of its
//! own. With it goes what the worker can resume: a change of the settings, or files read again, begin anew.

mod context;
mod contexts;
mod handshake;
mod sessions;

pub use contexts::{LoadedUpstream, UpstreamTls, unreadable};
pub use handshake::TlsFailure;
