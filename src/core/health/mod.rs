//! Health checks: what a check is, what its results mean, and when the next one is due.
//!
//! Pure: results, time and the seed are passed in. `src/net/check` does the network part.

mod answer_fault;
pub mod check;
mod counts;
pub mod dns;
pub mod http;
mod monitor;
mod status_ranges;
#[cfg(test)]
mod tests;
mod track;

pub use answer_fault::AnswerFault;
pub use check::{Check, CheckChoice, CheckConfig, CheckKey, CheckType};
pub use counts::CheckCounts;
pub use monitor::{Due, Monitor, Rule};
pub use track::{CheckResult, Health, Track};
