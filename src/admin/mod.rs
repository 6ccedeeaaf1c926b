//! The admin listener: what pen tells over HTTP/1.1, to be read and never to command pen.
//!
//! It has a thread of its own, so that nothing of it is on a worker's way, however much is asked for.

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
