//! The log writer: any thread hands it a line and continues; its own thread writes.
//!
//! A line is formatted directly into a bounded queue of bytes under a short lock, so that a request costs no allocation
//! and never waits for a disk, for DNS or for the network. Two buffers alternate between the producers and the writer.
//! When the queue is full, lines are dropped, counted and reported.

mod fault_reporter;
mod handle;
mod output;
mod queue;
mod syslog;
mod target;
#[cfg(test)]
mod tests;
mod udp;
mod writer;

pub use fault_reporter::Report;
pub use handle::LogHandle;
pub use output::SinkOutput;
pub use queue::SinkOptions;
pub use target::SinkTarget;
