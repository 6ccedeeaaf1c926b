//! The interface to the source of the reports.

use std::net::IpAddr;

use crate::core::report::pieces::Pieces;

use crate::core::state_changes::StateChange;

use super::dashboard::PageContents;
use super::metrics::Measurements;
use super::server_source::ServerSource;

/// The source of the reports.
pub trait ReportSource: ServerSource {
    /// Whether a client may send requests.
    fn permits(&self, client: IpAddr) -> bool;
    /// The document with that name below `/api/v1/`, if there is one.
    fn document(&self, name: &str) -> Option<Pieces>;
    /// The current values of the metrics.
    fn measurements(&self) -> Measurements;
    /// The changes of servers' states since the last call, with their time in RFC 3339 form.
    fn state_changes(&self) -> Vec<(String, StateChange)>;
    /// The contents of the dashboard.
    fn contents(&self) -> PageContents;
    /// The time in RFC 3339 form.
    fn time(&self) -> String;
    /// Whether some server can serve new clients.
    fn can_serve(&self) -> bool;
}
