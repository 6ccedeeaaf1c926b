//! Where the answers come from.

use std::net::IpAddr;

use crate::core::report::pieces::Pieces;

use super::metrics::Measurements;

/// Who knows what pen tells.
pub trait Source: Send + Sync + 'static {
    /// Whether a client may ask.
    fn permits(&self, client: IpAddr) -> bool;
    /// The document of that name below `/api/v1/`, if there is one.
    fn document(&self, name: &str) -> Option<Pieces>;
    /// What is measured now.
    fn measurements(&self) -> Measurements;
    /// Whether some server can serve new clients.
    fn can_serve(&self) -> bool;
}
