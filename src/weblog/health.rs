//! Tells of trouble with a log without flooding: the first failure at once, then counts at most once a minute.

use std::fmt;
use std::time::{Duration, Instant};

use super::sink::Report;

/// Least time between two reports of the same trouble.
const QUIET: Duration = Duration::from_secs(60);

/// Failures and losses of one log writer.
pub(super) struct Health {
    report: Report,
    lost: u64,
    why: String,
    failing: bool,
    reported: Option<Instant>,
}

impl Health {
    pub(super) fn new(report: Report) -> Health {
        Health { report, lost: 0, why: String::new(), failing: false, reported: None }
    }

    /// Tells of something that happens once, at once.
    pub(super) fn say(&self, what: &str) {
        (self.report)(what);
    }

    /// A write failed. `what` is told at the first failure and kept as the reason of later losses.
    pub(super) fn failed(&mut self, what: impl fmt::Display) {
        self.why = what.to_string();
        if !self.failing {
            self.failing = true;
            (self.report)(&self.why);
        }
    }

    /// Counts `lines` that are lost because `why`.
    pub(super) fn lost(&mut self, lines: u64, why: &str) {
        if lines == 0 {
            return;
        }
        self.lost += lines;
        if !self.failing {
            self.why.clear();
            self.why.push_str(why);
        }
    }

    /// A write succeeded: a failure, if there was one, is over.
    pub(super) fn works(&mut self, target: impl fmt::Display) {
        if self.failing {
            self.failing = false;
            (self.report)(&format!("log {target}: works again"));
            self.report_now();
        }
    }

    /// The target changes: tells what there is to tell of the old one.
    pub(super) fn begin_anew(&mut self) {
        self.report_now();
        self.failing = false;
    }

    /// When the next report is due; `None` if there is nothing to tell.
    pub(super) fn next_report(&self, now: Instant) -> Option<Duration> {
        if self.lost == 0 {
            return None;
        }
        Some(self.reported.map_or(Duration::ZERO, |at| (at + QUIET).saturating_duration_since(now)))
    }

    /// Reports losses, if that is due.
    pub(super) fn report_due(&mut self, now: Instant) {
        if self.next_report(now).is_some_and(|wait| wait.is_zero()) {
            self.report_now();
        }
    }

    /// Reports losses not reported yet.
    pub(super) fn report_now(&mut self) {
        if self.lost > 0 {
            let lines = if self.lost == 1 { "line" } else { "lines" };
            (self.report)(&format!("log: {} {lines} lost: {}", self.lost, self.why));
            self.lost = 0;
            self.reported = Some(Instant::now());
        }
    }
}
