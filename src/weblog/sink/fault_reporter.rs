//! Reports failures of a log without flooding: the first one at once, then counts at most once a minute.

use std::fmt;
use std::time::{Duration, Instant};

use crate::sys::log::QuietPeriod;

/// Called from the writer's thread with each message for the administrator.
pub type Report = Box<dyn Fn(&str) + Send>;

/// Failures and losses of one log writer.
pub(super) struct FaultReporter {
    report: Report,
    lost: u64,
    why: String,
    failing: bool,
    /// Since the last report of lost lines.
    quiet: QuietPeriod,
}

impl FaultReporter {
    pub(super) fn new(report: Report) -> FaultReporter {
        FaultReporter { report, lost: 0, why: String::new(), failing: false, quiet: QuietPeriod::new() }
    }

    /// Reports a single event at once.
    pub(super) fn say(&self, what: &str) {
        (self.report)(what);
    }

    /// Records a failed write. `what` is reported at the first failure, and kept as the reason of later losses.
    pub(super) fn failed(&mut self, what: impl fmt::Display) {
        self.why = what.to_string();
        if !self.failing {
            self.failing = true;
            (self.report)(&self.why);
        }
    }

    /// Counts lost lines. The reason is `why` unless writes are failing: then it is that failure.
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

    /// Records a successful write: it ends a failure.
    pub(super) fn works(&mut self, target: impl fmt::Display) {
        if self.failing {
            self.failing = false;
            (self.report)(&format!("log {target}: works again"));
            self.report_now();
        }
    }

    /// The target changes: reports what is pending about the old one.
    pub(super) fn begin_anew(&mut self) {
        self.report_now();
        self.failing = false;
    }

    /// The time until the next report of losses is due; `None` if there are none.
    pub(super) fn next_report(&self, now: Instant) -> Option<Duration> {
        (self.lost > 0).then(|| self.quiet.remaining(now))
    }

    /// Reports losses if a report is due.
    pub(super) fn report_due(&mut self, now: Instant) {
        if self.next_report(now).is_some_and(|wait| wait.is_zero()) {
            self.report_now();
        }
    }

    /// Reports losses that are not yet reported.
    pub(super) fn report_now(&mut self) {
        if self.lost > 0 {
            (self.report)(&format!("log: {} lost: {}", lines(self.lost), self.why));
            self.lost = 0;
            self.quiet.begin(Instant::now());
        }
    }
}

/// A number of lines in words.
pub(super) fn lines(count: u64) -> String {
    format!("{count} {}", if count == 1 { "line" } else { "lines" })
}
