//! TLS towards clients.
//!
//! The owner of the configuration reads and checks files ([`TlsServer::load`]) and puts the result in force as a whole
//! ([`TlsServer::install`]); handshakes in progress end with the data that they began with. Each worker has its own
//! contexts, since a shared one costs a tenth more; they are made from the same files and with the same ticket keys, so
//! that a client can resume its session on any worker.

mod cert_index;
mod cert_loader;
mod context;
mod context_cache;
mod credentials;
mod facts;
mod farewell;
mod file_stamp;
mod handshake;
pub(in crate::net) mod identity;
mod ocsp;
mod pem;
pub(in crate::net) mod protocols;
mod server;
mod sessions;
pub(in crate::net) mod settings;
mod sni;
mod tickets;
pub(in crate::net) mod worker;

pub use cert_index::host_name;
pub(in crate::net) use facts::facts as facts_of;
pub(in crate::net) use farewell::is_farewell;
pub(super) use handshake::session as session_of;
pub(in crate::net) use handshake::{Handshake, accept};
pub use server::{Loaded, TlsServer};
pub use settings::{TlsSettings, notices};
pub use worker::this_is_worker;
