//! The data path: everything that touches a client's or a server's bytes.

pub mod buffer;
pub mod connect;
mod dummy;
mod dump;
mod flow;
pub mod hooks;
mod inspect;
mod parting;
pub mod registry;
pub mod relay;
pub mod session;
pub mod shared;
pub mod socket;
pub mod stream;
#[cfg(test)]
mod tests;
pub mod tls;
pub mod turns;
pub mod udp;
pub mod worker;
