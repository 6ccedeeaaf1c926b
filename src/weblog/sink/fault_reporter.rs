//! Reports failures of a log without flooding: the first one at once, later ones and counts at most once a minute.

use std::fmt;
use std::time::{Duration, Instant};

use crate::sys::log::{ConditionState, QuietPeriod};

/// Called from the writer's thread with each message for the administrator.
pub type Report = Box<dyn Fn(&str) + Send>;

/// Failures and losses of one log writer.
pub(super) struct FaultReporter {
    report: Report,
    lost: u64,
    why: String,
    failure: ConditionState,
    /// Since the last report of lost lines.
    quiet: QuietPeriod,
}

impl FaultReporter {
    pub(super) fn new(report: Report) -> FaultReporter {
        FaultReporter {
            report,
            lost: 0,
            why: String::new(),
            failure: ConditionState::new(),
            quiet: QuietPeriod::new(),
        }
    }

    /// Reports a single event at once.
    pub(super) fn say(&self, what: &str) {
        (self.report)(what);
    }

    /// Records a failed write. `what` is reported at the first failure, and kept as the reason of later losses.
    pub(super) fn failed(&mut self, what: impl fmt::Display) {
        self.why = what.to_string();
        if self.failure.begin(Instant::now()) {
            (self.report)(&self.why);
        }
    }

    /// Counts lost lines. The reason is `why` unless writes are failing: then it is that failure, also for what is lost after it
    /// until that is reported.
    pub(super) fn lost(&mut self, lines: u64, why: &str) {
        if lines == 0 {
            return;
        }
        if self.lost == 0 && !self.failure.holds() {
            self.why.clear();
            self.why.push_str(why);
        }
        self.lost += lines;
    }

    /// Records a successful write: it ends a failure.
    pub(super) fn works(&mut self, target: impl fmt::Display) {
        if self.failure.end() {
            (self.report)(&format!("log {target}: works again"));
            self.report_now();
        }
    }

    /// The target changes: reports what is pending about the old one.
    pub(super) fn begin_anew(&mut self) {
        self.report_now();
        self.failure = ConditionState::new();
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn reporter() -> (FaultReporter, mpsc::Receiver<String>) {
        let (told, messages) = mpsc::channel();
        (FaultReporter::new(Box::new(move |text| told.send(text.to_owned()).unwrap())), messages)
    }

    #[test]
    fn a_log_that_fails_and_works_by_turns_is_reported_once() {
        let (mut faults, messages) = reporter();
        for _ in 0..100 {
            faults.failed("cannot write log a: full");
            faults.works("a");
        }
        let told: Vec<String> = messages.try_iter().collect();
        assert_eq!(told, ["cannot write log a: full", "log a: works again"]);
    }

    #[test]
    fn what_a_failure_that_is_not_told_has_lost_keeps_its_reason() {
        let (mut faults, messages) = reporter();
        for lost in [0, 5] {
            faults.failed("cannot write log a: full");
            faults.lost(lost, "the queue was full");
            faults.works("a");
        }
        faults.lost(1, "the queue was full");
        faults.report_now();
        faults.lost(1, "the queue was full");
        faults.report_now();
        let told: Vec<String> = messages.try_iter().skip(2).collect();
        let lost = ["log: 6 lines lost: cannot write log a: full", "log: 1 line lost: the queue was full"];
        assert_eq!(told, lost);
    }

    #[test]
    fn a_new_target_is_reported_at_once() {
        let (mut faults, messages) = reporter();
        faults.failed("cannot write log a: full");
        faults.lost(2, "");
        faults.begin_anew();
        faults.failed("cannot write log b: full");
        let told: Vec<String> = messages.try_iter().collect();
        let expected = [
            "cannot write log a: full",
            "log: 2 lines lost: cannot write log a: full",
            "cannot write log b: full",
        ];
        assert_eq!(told, expected);
    }
}
