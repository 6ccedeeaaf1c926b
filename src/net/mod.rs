//! The data path: everything that touches a client's or a server's bytes.

pub mod buffer;
mod flow;
pub mod hooks;
mod parting;
pub mod relay;
pub mod stream;
