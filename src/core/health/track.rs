//! What the results of a server's checks make of it.

use crate::core::Millis;

/// What is known of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Health {
    /// Nobody checks it: it counts as up.
    #[default]
    Unchecked,
    /// It is checked, and there is no result yet.
    Unknown,
    /// It works.
    Up,
    /// It does not.
    Down,
}

/// The last result of a server's check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckResult {
    /// Whether the server did what it should.
    pub success: bool,
    /// What it did, or what it did not.
    pub reason: String,
    /// How long it took.
    pub took: Millis,
    /// When it was known.
    pub at: Millis,
}

/// A server between up and down: the first result decides at once, after that so many of the same kind in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Track {
    health: Health,
    /// How many results in a row speak against it.
    against: u32,
}

impl Default for Track {
    fn default() -> Self {
        Track { health: Health::Unknown, against: 0 }
    }
}

impl Track {
    /// One more result. Gives the new health if it is another one.
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

    /// What is known.
    pub fn health(&self) -> Health {
        self.health
    }

    /// Whether the last results speak against what is known, so that it may soon be another.
    pub fn is_changing(&self) -> bool {
        self.against > 0
    }
}
