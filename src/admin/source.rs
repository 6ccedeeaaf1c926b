//! Where the answers come from.

use std::net::IpAddr;

use crate::core::report::pieces::Pieces;

use crate::core::report::model::ServerRow;

use super::dashboard::Subject;
use super::metrics::Measurements;

/// Who knows what pen tells.
pub trait Source: Send + Sync + 'static {
    /// Whether a client may ask.
    fn permits(&self, client: IpAddr) -> bool;
    /// The document of that name below `/api/v1/`, if there is one.
    fn document(&self, name: &str) -> Option<Pieces>;
    /// What is measured now.
    fn measurements(&self) -> Measurements;
    /// How the servers stand, without those that were removed.
    fn servers(&self) -> Vec<ServerRow>;
    /// What the dashboard shows.
    fn subject(&self) -> Subject;
    /// The time, as RFC 3339 has it.
    fn time(&self) -> String;
    /// Whether some server can serve new clients.
    fn can_serve(&self) -> bool;
}
