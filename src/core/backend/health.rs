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
    /// When its slow start began: it came up after being down, or it came back from maintenance; 0 if it has none.
    risen: AtomicU64,
    /// Changes whenever earlier results no longer apply: the server has another address or check. 0 until it first has one.
    period: AtomicU64,
    /// Its slow start begins when it may serve clients next: it was down when its results were discarded, or in maintenance.
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
        match health {
            Health::Up if self.get() == Health::Down || self.returns.load(Relaxed) => self.rise(now),
            Health::Down => self.risen.store(0, Relaxed),
            // A server in slow start whose results were discarded goes on with it.
            Health::Up | Health::Unknown | Health::Unchecked => {}
        }
        self.store(health);
    }

    /// Its slow start begins at `now`.
    fn rise(&self, now: Millis) {
        // 0 would be none.
        self.risen.store(now.max(1), Relaxed);
        self.returns.store(false, Relaxed);
    }

    fn store(&self, health: Health) {
        let at = ALL.iter().position(|one| *one == health).unwrap_or_default();
        self.health.store(u8::try_from(at).unwrap_or_default(), Relaxed);
    }

    /// Discards all results; `checked` says whether the server is checked from now on. That is this `period`. Whether it was
    /// down, or is in slow start, is not forgotten: it still has its slow start before it.
    pub(super) fn forget(&self, checked: bool, period: u64) {
        if self.get() == Health::Down {
            self.returns.store(true, Relaxed);
        }
        self.store(if checked { Health::Unknown } else { Health::Unchecked });
        self.period.store(period, Relaxed);
        *self.last.lock() = None;
        *self.counts.lock() = Arc::default();
    }

    /// The server is back from maintenance at `now`: its slow start begins, that of one with a check when that finds it up.
    pub(super) fn comes_back(&self, now: Millis) {
        self.returns.store(true, Relaxed);
        self.serves_unchecked(now);
    }

    /// The server may serve clients from `now` on. If it has no check that would find it up first, a slow start that is due begins.
    pub(super) fn serves_unchecked(&self, now: Millis) {
        if self.get() == Health::Unchecked && self.returns.load(Relaxed) {
            self.rise(now);
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
