//! A condition that is logged when it begins and when it ends, not every time it is detected.

use std::collections::HashMap;
use std::fmt::Arguments;
use std::hash::Hash;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::output::{info, warn};
use super::quiet::QuietPeriod;

/// How long a condition made of single events must not have occurred before its end is logged.
const CALM: Duration = Duration::from_secs(10);

/// A condition such as "out of descriptors" or "the log cannot be written". Make it a `static`, or a field of the
/// object that it belongs to.
///
/// ```
/// static FULL: pen::sys::log::Condition = pen::sys::log::Condition::new();
/// FULL.begin(format_args!("the disk is full"));
/// FULL.begin(format_args!("the disk is full")); // logs nothing
/// FULL.end(format_args!("the disk has room again"));
/// FULL.end(format_args!("the disk has room again")); // logs nothing
/// ```
#[derive(Debug)]
pub struct Condition {
    /// A copy of `state` that is read without the lock: usually nothing has changed.
    holds: AtomicBool,
    state: Mutex<ConditionState>,
}

/// Whether a condition is in effect, and when that is worth a message.
#[derive(Debug, Default)]
pub struct ConditionState {
    holds: bool,
    told: bool,
    quiet: QuietPeriod,
}

impl Condition {
    /// A condition that is not in effect.
    pub const fn new() -> Self {
        Self { holds: AtomicBool::new(false), state: Mutex::new(ConditionState::new()) }
    }

    /// The condition is in effect: logs the warning `text` if it was not in effect before.
    pub fn begin(&self, text: Arguments<'_>) {
        let mut state = self.state();
        let news = state.begin(Instant::now());
        self.holds.store(true, Ordering::Relaxed);
        drop(state);
        if news {
            warn(text);
        }
    }

    /// The condition has ended: logs `text` if its beginning was logged. Otherwise costs one atomic read.
    pub fn end(&self, text: Arguments<'_>) {
        if !self.holds.load(Ordering::Relaxed) {
            return;
        }
        let mut state = self.state();
        let news = state.end();
        self.holds.store(false, Ordering::Relaxed);
        drop(state);
        if news {
            info(text);
        }
    }

    /// For a condition made of single events, the last of which was `age` ago: ends it, see [`Condition::end`], unless the last
    /// event is recent.
    pub fn end_if_calm(&self, age: Duration, text: Arguments<'_>) {
        if age >= CALM {
            self.end(text);
        }
    }

    fn state(&self) -> MutexGuard<'_, ConditionState> {
        // No code that holds this lock can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A [`Condition`] for each of many things, such as servers or names.
#[derive(Debug)]
pub struct Conditions<K> {
    /// Whether any of them is in effect, to be read without the lock.
    any: AtomicBool,
    conditions: Mutex<HashMap<K, Condition>>,
}

impl<K> Default for Conditions<K> {
    fn default() -> Self {
        Conditions { any: AtomicBool::new(false), conditions: Mutex::default() }
    }
}

impl<K: Eq + Hash> Conditions<K> {
    /// The condition of `key` is in effect, see [`Condition::begin`].
    pub fn begin(&self, key: K, text: Arguments<'_>) {
        let mut conditions = self.conditions();
        self.any.store(true, Ordering::Relaxed);
        conditions.entry(key).or_default().begin(text);
    }

    /// The condition of `key` has ended, see [`Condition::end`].
    pub fn end<Q: Eq + Hash + ?Sized>(&self, key: &Q, text: Arguments<'_>)
    where
        K: std::borrow::Borrow<Q>,
    {
        if !self.any.load(Ordering::Relaxed) {
            return;
        }
        let conditions = self.conditions();
        if let Some(condition) = conditions.get(key) {
            condition.end(text);
        }
        let any = conditions.values().any(|condition| condition.holds.load(Ordering::Relaxed));
        self.any.store(any, Ordering::Relaxed);
    }

    /// Drops the conditions of keys that no longer exist.
    pub fn retain(&self, mut is_there: impl FnMut(&K) -> bool) {
        self.conditions().retain(|key, _| is_there(key));
    }

    fn conditions(&self) -> MutexGuard<'_, HashMap<K, Condition>> {
        // No code that holds this lock can panic.
        self.conditions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Condition {
    fn default() -> Self {
        Self::new()
    }
}

impl ConditionState {
    /// Not in effect.
    pub const fn new() -> Self {
        Self { holds: false, told: false, quiet: QuietPeriod::new() }
    }

    /// Whether it is in effect.
    pub fn holds(&self) -> bool {
        self.holds
    }

    /// Whether to log that the condition is in effect. If it began too soon after the last message, it is logged later
    /// if it is still in effect.
    pub fn begin(&mut self, now: Instant) -> bool {
        let told = self.holds && self.told;
        let early = !self.quiet.remaining(now).is_zero();
        self.holds = true;
        if told || early {
            self.told = told;
            return false;
        }
        self.told = true;
        self.quiet.begin(now);
        true
    }

    /// Whether to log that the condition has ended.
    pub fn end(&mut self) -> bool {
        let news = self.holds && self.told;
        (self.holds, self.told) = (false, false);
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn is_logged_once_however_long_it_lasts() {
        let (mut state, start) = (Condition::new().state.into_inner().expect("new"), Instant::now());
        assert!(!state.end(), "never began");
        assert!(state.begin(start));
        for seconds in [0, 1, 60, 3600, 86_400] {
            assert!(!state.begin(start + seconds * SECOND));
        }
        assert!(state.end());
        assert!(!state.end());
        assert!(state.begin(start + 86_401 * SECOND));
    }

    #[test]
    fn single_events_are_over_once_none_is_recent() {
        let condition = Condition::new();
        let holds = || condition.holds.load(Ordering::Relaxed);
        condition.begin(format_args!("refusing"));
        condition.end_if_calm(CALM - Duration::from_millis(1), format_args!("over"));
        assert!(holds());
        condition.end_if_calm(CALM, format_args!("over"));
        assert!(!holds());
    }

    #[test]
    fn conditions_of_several_things_are_apart() {
        let conditions = Conditions::<&str>::default();
        let holding = || {
            let conditions = conditions.conditions();
            let mut keys: Vec<&str> = conditions
                .iter()
                .filter(|(_, condition)| condition.holds.load(Ordering::Relaxed))
                .map(|(key, _)| *key)
                .collect();
            keys.sort_unstable();
            keys
        };
        conditions.end("a", format_args!("never began"));
        for key in ["a", "b", "c"] {
            conditions.begin(key, format_args!("{key} begins"));
        }
        conditions.end("a", format_args!("a ends"));
        assert_eq!(holding(), ["b", "c"]);
        conditions.retain(|key| *key != "b");
        assert_eq!(holding(), ["c"]);
        assert!(conditions.any.load(Ordering::Relaxed));
        conditions.end("c", format_args!("c ends"));
        assert!(!conditions.any.load(Ordering::Relaxed));
    }

    #[test]
    fn coming_and_going_is_not_logged_each_time() {
        let (mut state, start) = (Condition::new().state.into_inner().expect("new"), Instant::now());
        assert!(state.begin(start));
        assert!(state.end());
        for seconds in 1..60 {
            assert!(!state.begin(start + seconds * SECOND));
            assert!(!state.end(), "its beginning was not logged");
        }
        assert!(!state.begin(start + 59 * SECOND));
        assert!(state.begin(start + 60 * SECOND), "still holds, and the quiet time is over");
        assert!(state.end());
    }
}
