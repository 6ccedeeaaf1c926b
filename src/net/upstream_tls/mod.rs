//! TLS towards servers.
//!
//! As towards clients, all files are read before a change is in force ([`UpstreamTls::load`]), and each worker has its
//! own context, together with the sessions that it can resume: a change of the settings, or a reload of files, starts
//! without sessions.

mod context;
mod contexts;
mod handshake;
mod sessions;

pub use contexts::{LoadedUpstream, UpstreamTls, unreadable};
pub use handshake::TlsFailure;
