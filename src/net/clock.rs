//! Pen's clock.

use std::time::Instant;

use crate::core::{Millis, millis};

/// A monotonic clock, which is never set. Copies of it show the same time.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Self {
        Clock(Instant::now())
    }

    /// The time in milliseconds since shortly before the start.
    pub fn now(self) -> Millis {
        // Starts at 1, since 0 means "never" in a blacklist.
        millis(self.0.elapsed()).saturating_add(1)
    }
}
