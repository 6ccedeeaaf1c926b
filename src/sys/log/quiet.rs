//! The least time between two messages about the same thing.

use std::time::{Duration, Instant};

/// How long nothing more is logged about a thing after its last message.
const QUIET: Duration = Duration::from_secs(60);

/// The time of the last message about a thing.
#[derive(Debug, Default)]
pub struct QuietPeriod(Option<Instant>);

impl QuietPeriod {
    /// No message was logged yet.
    pub const fn new() -> Self {
        Self(None)
    }

    /// A message is logged at `now`.
    pub fn begin(&mut self, now: Instant) {
        self.0 = Some(now);
    }

    /// The time until another message may be logged; zero if it may be logged at `now`.
    pub fn remaining(&self, now: Instant) -> Duration {
        self.0.map_or(Duration::ZERO, |last| QUIET.saturating_sub(now.saturating_duration_since(last)))
    }
}
