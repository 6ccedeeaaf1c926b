//! The results of a server's checks, for all threads to read. Only the main thread changes them.

use crate::core::Millis;
use crate::core::health::{CheckCounts, CheckResult, Health};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};

/// The health of one server slot. What a search for a server reads is in front.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct HealthRecord {
    health: AtomicU8,
    /// When its slow start began: it came up after being down or after a change of server, or it came back; 0 if it has none.
    risen: AtomicU64,
    /// Changes whenever earlier results no longer apply: the server has another address or check. 0 until it first has one.
    period: AtomicU64,
    /// When its check finds it up next, that is a slow start, even if it was not down: it has not just started with pen.
    returns: AtomicBool,
    last: Mutex<Option<Arc<CheckResult>>>,
    counts: Mutex<Arc<CheckCounts>>,
}

const ALL: [Health; 4] = [Health::Unchecked, Health::Unknown, Health::Up, Health::Down];

impl HealthRecord {
    /// The current health.
    pub(super) fn get(&self) -> Health {
        ALL[usize::from(self.health.load(Relaxed)) % ALL.len()]
    }

    /// The health changes at `now`.
    pub(super) fn set(&self, health: Health, now: Millis) {
        let begins = self.get() == Health::Down || self.returns.load(Relaxed);
        self.risen.store(if health == Health::Up && begins { now } else { 0 }, Relaxed);
        self.store(health);
    }

    fn store(&self, health: Health) {
        let at = ALL.iter().position(|one| *one == health).unwrap_or_default();
        self.health.store(u8::try_from(at).unwrap_or_default(), Relaxed);
    }

    /// Discards all results; `checked` says whether the server is checked from now on. That is this `period`.
    pub(super) fn forget(&self, checked: bool, period: u64) {
        self.store(if checked { Health::Unknown } else { Health::Unchecked });
        self.risen.store(0, Relaxed);
        if self.period.swap(period, Relaxed) != 0 {
            self.returns.store(true, Relaxed);
        }
        *self.last.lock() = None;
        *self.counts.lock() = Arc::default();
    }

    /// The server is back from maintenance at `now`: its slow start begins, that of one with a check when that finds it up.
    pub(super) fn comes_back(&self, now: Millis) {
        match self.get() {
            Health::Unchecked => self.risen.store(now.max(1), Relaxed),
            _ => self.returns.store(true, Relaxed),
        }
    }

    /// When its slow start began; 0 if it has none.
    pub(super) fn risen(&self) -> Millis {
        self.risen.load(Relaxed)
    }

    /// See [`crate::core::health::Monitor::configure`].
    pub(super) fn period(&self) -> u64 {
        self.period.load(Relaxed)
    }

    /// The counts of results since they were last discarded.
    pub(super) fn counts(&self) -> Arc<CheckCounts> {
        Arc::clone(&self.counts.lock())
    }

    /// The last result of a check.
    pub(super) fn last(&self) -> Option<Arc<CheckResult>> {
        self.last.lock().clone()
    }

    /// A check has ended.
    pub(super) fn note(&self, result: CheckResult) {
        *self.last.lock() = Some(Arc::new(result));
    }
}
