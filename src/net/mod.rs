//! The data path: everything that touches a client's or a server's bytes.

pub mod accept_token;
pub mod accepted_client;
pub mod check;
pub mod client_hello;
mod client_name;
pub mod clients;
pub mod clock;
pub mod connect;
pub mod connection_log;
mod connection_record;
pub mod connections;
mod dummy;
pub mod failures;
pub mod filter;
mod first_bytes;
pub mod held_clients;
mod known_client;
pub mod lifecycle;
mod limits;
pub mod listener;
pub mod proxy;
pub mod relay;
mod requests;
pub mod session;
pub mod shared;
mod silent;
pub mod socket;
pub mod stream;
pub mod tarpit;
#[cfg(test)]
mod tests;
pub mod tls;
pub mod udp;
pub mod upstream_tls;
pub mod worker;
