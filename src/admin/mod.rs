//! The admin listener: pen's reports over HTTP/1.1, read-only.
//!
//! It has its own thread, so that no request delays a worker.

mod body;
mod dashboard;
mod host;
mod metrics;
mod progress;
mod routes;
mod server;
mod source;

pub use dashboard::Subject;
pub use metrics::{FAMILIES, Family, Measurements, Process};
pub use server::{AdminListener, start};
pub use source::Source;
