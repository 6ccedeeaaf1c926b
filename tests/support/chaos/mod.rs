//! Random conversations with verifiable bytes: both ends of a connection follow a plan that the client announces, and
//! every byte is a function of the seed and its position, so that a lost, duplicated or reordered byte is detected at
//! once.

pub(crate) mod commands;
mod endpoint;
mod plan;
mod transport;

pub(crate) use endpoint::{Ending, converse};
pub(crate) use plan::{Plan, Random};
pub(crate) use transport::{Plain, Transport};

/// The number in an environment variable.
pub(crate) fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}: expected a number")))
}
