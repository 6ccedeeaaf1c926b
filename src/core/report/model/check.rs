//! `json checks`: a row for each server that is checked.

use serde::Serialize;

use crate::core::Millis;
use crate::core::health::Health;
use crate::core::settings::Keyword;
use crate::core::snapshot::Backend;

use super::units::seconds;

/// What a check has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthWord {
    /// There is no result yet.
    Unknown,
    /// The server works.
    Up,
    /// It does not.
    Down,
}

/// A server that is checked.
#[derive(Debug, Clone, Serialize)]
pub struct CheckRow {
    /// The server's number.
    pub server: usize,
    /// The server's name, if it has one.
    pub name: Option<String>,
    /// The name of the check.
    pub check: String,
    /// What the check does.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// What it has found.
    pub health: HealthWord,
    /// Whether its last result was a success; none without a result.
    pub success: Option<bool>,
    /// What that says.
    pub reason: Option<String>,
    /// How long that took.
    pub duration_seconds: Option<f64>,
    /// How long ago that was.
    pub age_seconds: Option<f64>,
}

impl CheckRow {
    /// The row of `backend` at `now`; none if nobody checks it.
    pub fn new(backend: &Backend, now: Millis) -> Option<Self> {
        let check = backend.check.as_ref()?;
        let last = backend.stats.last_check();
        let last = last.as_deref();
        Some(CheckRow {
            server: backend.role.slot()?,
            name: backend.name.clone(),
            check: check.name.clone(),
            kind: check.config.kind.word(),
            health: match backend.stats.health() {
                Health::Unchecked | Health::Unknown => HealthWord::Unknown,
                Health::Up => HealthWord::Up,
                Health::Down => HealthWord::Down,
            },
            success: last.map(|last| last.success),
            reason: last.map(|last| last.reason.clone()),
            duration_seconds: last.map(|last| seconds(last.took)),
            age_seconds: last.map(|last| seconds(now.saturating_sub(last.at))),
        })
    }
}
