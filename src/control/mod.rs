//! The control socket: pen's side of it and penctl's. A connection carries one line there and a text back.

pub mod check_health;
pub mod client;
mod places;
pub mod protocol;
pub mod server;
mod servers;
pub mod watch;
