//! The health of a server, derived from the results of its checks.

use crate::core::Millis;

/// The health of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Health {
    /// It is not checked, and counts as up.
    #[default]
    Unchecked,
    /// It is checked, and there is no result yet.
    Unknown,
    /// It works.
    Up,
    /// It does not work.
    Down,
}

/// The last result of a server's check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckResult {
    /// Whether the server answered correctly.
    pub success: bool,
    /// Why the check succeeded or failed.
    pub reason: String,
    /// How long it took.
    pub took: Millis,
    /// When the result was known.
    pub at: Millis,
}

/// Derives up and down from results: the first result decides at once, after that a number of equal results in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Track {
    health: Health,
    /// Consecutive results that contradict the current health.
    against: u32,
}

impl Default for Track {
    fn default() -> Self {
        Track { health: Health::Unknown, against: 0 }
    }
}

impl Track {
    /// Adds a result. Returns the new health if it has changed.
    pub fn result(&mut self, success: bool, rise: u32, fall: u32) -> Option<Health> {
        let (as_before, needed) = match self.health {
            Health::Up => (success, fall),
            Health::Down => (!success, rise),
            Health::Unknown | Health::Unchecked => (false, 1),
        };
        if as_before {
            self.against = 0;
            return None;
        }
        self.against += 1;
        if self.against < needed {
            return None;
        }
        self.against = 0;
        self.health = if success { Health::Up } else { Health::Down };
        Some(self.health)
    }

    /// The current health.
    pub fn health(&self) -> Health {
        self.health
    }

    /// Whether the last results contradict the current health, so that it may soon change.
    pub fn is_changing(&self) -> bool {
        self.against > 0
    }
}
