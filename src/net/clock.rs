//! The clock that pen goes by.

use std::time::Instant;

use crate::core::Millis;

/// A monotonic clock, which nobody sets. A copy of it shows the same time.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    /// A clock that begins now.
    pub fn start() -> Self {
        Clock(Instant::now())
    }

    /// Now, in milliseconds since a little before the start.
    pub fn now(self) -> Millis {
        // Starts at 1, since 0 stands for "never" in a blacklist.
        u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }
}
