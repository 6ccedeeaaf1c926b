//! Checks of servers: each runs as a task of the main thread, never on a worker.

mod addresses;
mod datagram;
mod deadlines;
mod exec;
mod outcome;
mod probe;
mod prober;
mod running;
mod stream;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use crate::core::end_reason::EndReason;
use crate::core::health::{CheckResult, Due, Health, Monitor};
use crate::core::millis;
use crate::core::settings::OnDown;
use crate::core::snapshot::{Backend, Role, Snapshot};
use crate::sys::log;

use super::shared::Shared;
use outcome::CheckOutcome;
use prober::Prober;
use running::RunningChecks;

/// The component that checks the servers.
#[derive(Debug)]
pub struct Checker {
    shared: Arc<Shared>,
    monitor: RefCell<Monitor>,
    /// Notified when the set of servers to check changes.
    changed: Notify,
    prober: Rc<Prober>,
    running: RunningChecks,
}

/// A check that has ended.
type Ended = (Due, CheckOutcome, Duration);

impl Checker {
    /// A checker without servers. `seed` randomizes the intervals.
    pub fn new(shared: Arc<Shared>, seed: u64) -> Self {
        let prober = Rc::new(Prober::new(Arc::clone(&shared)));
        Checker {
            shared,
            monitor: RefCell::new(Monitor::new(seed)),
            changed: Notify::new(),
            prober,
            running: RunningChecks::default(),
        }
    }

    /// Checks the servers of this snapshot from now on; it is the one in force. A check of an earlier one that is no longer wanted, or
    /// not in this way, is cancelled.
    pub fn configure(&self, snapshot: &Snapshot) {
        let wanted = snapshot.backends.iter().flatten().filter_map(|backend| {
            let rule = backend.check.as_ref()?.config.rule();
            Some((backend.role.slot()?, backend.stats.period(), rule))
        });
        let wanted: Vec<_> = wanted.collect();
        self.running.keep(&wanted.iter().map(|(_, period, _)| *period).collect());
        self.monitor.borrow_mut().configure(wanted, self.shared.now());
        self.changed.notify_one();
    }

    /// Checks servers forever. Must run on a [`tokio::task::LocalSet`].
    pub async fn run(self: Rc<Self>) {
        let (sender, mut ended) = mpsc::unbounded_channel();
        loop {
            let now = self.shared.now();
            loop {
                let Some(due) = self.monitor.borrow_mut().begin(now) else { break };
                self.begin(due, &sender);
            }
            let next = self.monitor.borrow().next();
            // A millisecond later, since the clock rounds down.
            let next = next.map(|at| Instant::now() + Duration::from_millis(at.saturating_sub(now) + 1));
            let next = self.prober.deadlines.expire(next);
            tokio::select! {
                Some(first) = ended.recv() => {
                    self.finish(first);
                    while let Ok(more) = ended.try_recv() {
                        self.finish(more);
                    }
                }
                () = self.shared.failures.told() => {
                    let now = self.shared.now();
                    let mut monitor = self.monitor.borrow_mut();
                    self.shared.failures.take().into_iter().for_each(|server| monitor.ask(server, now));
                }
                () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
                () = self.prober.deadlines.earlier() => {}
                () = self.changed.notified() => {}
            }
        }
    }

    fn begin(&self, due: Due, ended: &mpsc::UnboundedSender<Ended>) {
        let snapshot = self.shared.snapshot.load_full();
        let Some(backend) = snapshot.backend(Role::Regular(due.server)).cloned() else { return };
        let (prober, ended) = (Rc::clone(&self.prober), ended.clone());
        let task = tokio::task::spawn_local(async move {
            let (outcome, took) = prober.run(&snapshot, &backend).await;
            // The receiver ends with pen.
            _ = ended.send((due, outcome, took));
        });
        self.running.begins(due.period, task.abort_handle());
    }

    fn finish(&self, (due, outcome, took): Ended) {
        self.running.ends(due.period);
        let snapshot = self.shared.snapshot.load();
        let now = self.shared.now();
        let change = self.monitor.borrow_mut().finish(due, outcome.success(), now);
        let Some(backend) = snapshot.backend(Role::Regular(due.server)) else { return };
        if backend.stats.period() != due.period {
            return;
        }
        backend.stats.check_counts().count(outcome.success(), took);
        let (success, reason) = match outcome {
            CheckOutcome::Success(reason) => (true, reason),
            CheckOutcome::Failure(reason) => (false, reason),
            CheckOutcome::Unknown(reason) => return self.shared.reports.unchecked(backend, &reason),
        };
        self.shared.reports.checked(backend);
        let took = millis(took);
        // Before its consequences: whoever sees the new state sees its reason too.
        backend.stats.note_check(CheckResult { success, reason: reason.clone(), took, at: now });
        let works_again = success && backend.stats.works();
        if works_again {
            log::info(format_args!("{backend} works again: {reason}"));
        }
        if let Some(health) = change {
            self.becomes(backend, health, &reason);
        }
        if works_again || change.is_some() {
            self.shared.state_changes.note(backend, Some(&reason), self.shared.now());
        }
    }

    /// Records and reports the new health of a server.
    fn becomes(&self, backend: &Backend, health: Health, reason: &str) {
        backend.stats.set_health(health, self.shared.now());
        let check = backend.check.as_ref().map(|check| check.name.as_str()).unwrap_or_default();
        match health {
            Health::Down => {
                log::warn(format_args!("{backend} is down: check {check}: {reason}"));
                if backend.on_down == OnDown::Close {
                    self.shared.connections.close_server(backend, EndReason::ServerDown);
                }
            }
            _ => log::info(format_args!("{backend} is up: check {check}: {reason}")),
        }
    }
}
