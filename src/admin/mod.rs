//! The admin listener: pen's reports over HTTP/1.1, read-only.
//!
//! It has its own thread, so that no request delays a worker.

mod accept;
mod body;
mod check_metrics;
mod dashboard;
mod family;
mod host;
mod metrics;
mod percent;
mod progress;
mod routes;
mod server;
mod server_metrics;
mod server_source;
mod serving_metrics;
mod source;
mod unserved_metrics;

pub use dashboard::PageContents;
pub use family::Family;
pub use metrics::{Measurements, Process, families};
pub use server::{AdminListener, CONNECTIONS_MAX, start};
pub use server_source::ServerSource;
pub use serving_metrics::ServingTotals;
pub use source::ReportSource;
pub use unserved_metrics::Unserved;
