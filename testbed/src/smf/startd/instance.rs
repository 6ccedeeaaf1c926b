//! The restarter's state of an instance.

use std::collections::VecDeque;
use std::fmt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::contract::Holder;

/// The states of smf(5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Uninitialized,
    Disabled,
    Offline,
    Online,
    Maintenance,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Uninitialized => "uninitialized",
            State::Disabled => "disabled",
            State::Offline => "offline",
            State::Online => "online",
            State::Maintenance => "maintenance",
        })
    }
}

/// The state that follows once an instance is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    Disabled,
    /// Offline, to be started again.
    Offline,
    Maintenance(&'static str),
}

/// The restarter's current operation on an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Idle,
    Starting,
    /// The stop method is running, or has ended and processes are left.
    Stopping {
        after: After,
        method_done: bool,
    },
    Refreshing,
}

/// A command that waits until the instance is online, or until it is disabled.
pub(crate) struct Waiter {
    pub(crate) online: bool,
    pub(crate) stream: UnixStream,
}

pub(crate) struct Inst {
    pub(crate) state: State,
    pub(crate) phase: Phase,
    /// The contract of the service: the processes of the start method.
    pub(crate) primary: Option<Holder>,
    /// The stop or refresh method that is running.
    pub(crate) helper: Option<Holder>,
    /// When the running method, or the wait for the last process, times out.
    pub(crate) deadline: Option<Instant>,
    /// Consecutive failures of start methods.
    pub(crate) failures: u8,
    pub(crate) starts: VecDeque<Instant>,
    pub(crate) faults: VecDeque<Instant>,
    pub(crate) restart: bool,
    pub(crate) refresh: bool,
    /// An administrator requested maintenance.
    pub(crate) maintenance: bool,
    /// It could not be stopped: it stays in maintenance, disabled or not, until the next request.
    pub(crate) stuck: bool,
    pub(crate) waiters: Vec<Waiter>,
}

/// A service that is started this often...
const QUICK_STARTS: usize = 5;
/// ... in this time is restarting too quickly: more than once a second.
const QUICK_TIME: Duration = Duration::from_secs(5);

impl Inst {
    pub(crate) fn new() -> Inst {
        Inst {
            state: State::Uninitialized,
            phase: Phase::Idle,
            primary: None,
            helper: None,
            deadline: None,
            failures: 0,
            starts: VecDeque::new(),
            faults: VecDeque::new(),
            restart: false,
            refresh: false,
            maintenance: false,
            stuck: false,
            waiters: Vec::new(),
        }
    }

    pub(crate) fn runs(&self) -> bool {
        self.state == State::Online
    }

    /// Records a start.
    pub(crate) fn started(&mut self, now: Instant) {
        self.starts.push_back(now);
        if self.starts.len() > QUICK_STARTS {
            self.starts.pop_front();
        }
    }

    /// Whether it was started too often recently and must stop.
    pub(crate) fn too_quick(&self, now: Instant) -> bool {
        self.starts.len() == QUICK_STARTS
            && self.starts.front().is_some_and(|first| now - *first < QUICK_TIME)
    }

    /// Records a fault; true if there were more than `count` in `period`.
    pub(crate) fn faulted(&mut self, now: Instant, limit: Option<(usize, Duration)>) -> bool {
        self.faults.push_back(now);
        let Some((count, period)) = limit else { return false };
        self.faults.retain(|fault| now - *fault < period);
        self.faults.len() > count
    }

    /// Abandons the contract, after a start method that has failed or on the way out of maintenance: processes that a method
    /// has left there run on, and no command of smf(5) knows of them any more.
    pub(crate) fn abandon(&mut self) {
        self.primary = None;
    }

    /// Clears the failures: an administrator has handled them.
    pub(crate) fn clear(&mut self) {
        self.failures = 0;
        self.starts.clear();
        self.faults.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_quick_starts_and_faults() {
        let (mut inst, now) = (Inst::new(), Instant::now());
        for second in 0..4 {
            inst.started(now + Duration::from_secs(second) / 2);
        }
        assert!(!inst.too_quick(now + Duration::from_secs(2)));
        inst.started(now + Duration::from_secs(2));
        assert!(inst.too_quick(now + Duration::from_secs(3)));
        assert!(!inst.too_quick(now + Duration::from_secs(6)));
        let limit = Some((1, Duration::from_secs(60)));
        assert!(!inst.faulted(now, limit));
        assert!(inst.faulted(now, limit));
        assert!(!inst.faulted(now + Duration::from_secs(61), limit));
    }
}
