//! The state of a running pen, and every decision about it.
//!
//! A command or a reload becomes a plan: the new configuration, what must succeed first ([`Need`]), the reply, and what
//! follows ([`Effect`]). It is judged as a whole, so that all errors are told at once; then all needs are met before any part is in force, so a refused command has changed nothing. A
//! [`World`] performs needs and effects; in tests it is a model.

mod effect;
mod judge;
mod plan;
mod proposal;
mod reload;
mod running;
#[cfg(test)]
mod tests;

pub use effect::{Answer, Effect, Log, Lookups, Need};
pub use plan::Outcome;
pub use proposal::{Reload, ReloadProposal, ReloadSource};
pub use running::{Start, State, World};
