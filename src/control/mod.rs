//! The control socket, pen's side and penctl's. A connection carries one line to pen and one text back.

pub mod check_health;
pub mod client;
mod long_reply;
mod output;
mod owed_reply;
pub mod protocol;
pub mod server;
mod servers;
mod servers_table;
mod time_limit;
mod waiting_clients;
pub mod watch;
