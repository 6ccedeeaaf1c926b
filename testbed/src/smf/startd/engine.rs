//! The main loop of the restarter: requests, reports of holders, timeouts.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::super::fmri::Fmri;
use super::super::process;
use super::super::repo::Repository;
use super::contract::{Holder, Report};
use super::instance::{After, Inst, Phase, State, Waiter};
use super::outcome::{effective, helper_done, is_transient, start_done, stopped, write_state};
use super::{Event, depend, log};

pub(crate) struct Engine {
    pub(super) instances: BTreeMap<Fmri, Inst>,
    pub(super) sender: Sender<Event>,
    pub(super) serial: u64,
}

impl Engine {
    pub(crate) fn new(sender: Sender<Event>) -> Engine {
        Engine { instances: BTreeMap::new(), sender, serial: 0 }
    }

    /// Loads all instances of the repository.
    pub(crate) fn boot(&mut self) {
        self.settle();
    }

    pub(crate) fn run(&mut self, events: &Receiver<Event>) {
        loop {
            let deadline = self.instances.values().filter_map(|inst| inst.deadline).min();
            let wait =
                deadline.map_or(Duration::from_secs(3600), |at| at.saturating_duration_since(Instant::now()));
            match events.recv_timeout(wait) {
                Ok(Event::Request(line, stream)) => {
                    let answer = self.request(&line, &stream);
                    self.settle();
                    if let Some(answer) = answer {
                        _ = writeln!(&stream, "{answer}");
                    }
                }
                Ok(Event::Report(serial, report)) => self.report(serial, report),
                Err(RecvTimeoutError::Timeout) => self.overdue(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.settle();
        }
    }

    /// Carries out the request of a command; `None` if the answer has to wait.
    fn request(&mut self, line: &str, stream: &std::os::unix::net::UnixStream) -> Option<String> {
        let (verb, name) = line.split_once(' ').unwrap_or((line, ""));
        let Ok(fmri) = Fmri::parse(name) else { return Some("error: no FMRI".into()) };
        if verb == "delete" {
            // What runs of it runs on, as with svc.startd(1M).
            self.instances.remove(&fmri);
            return Some("ok".into());
        }
        self.settle();
        let Some(inst) = self.instances.get_mut(&fmri) else { return Some("ok".into()) };
        match verb {
            "changed" => inst.stuck = false,
            "restart" => inst.restart = inst.runs(),
            "refresh" => {
                if let Err(error) = Repository::update(|repo| repo.refresh(&fmri)) {
                    return Some(format!("error: {error:#}"));
                }
                inst.refresh = true;
            }
            "clear" if inst.state == State::Maintenance => {
                log::line(&fmri, "Leaving maintenance because clear requested.");
                inst.clear();
                inst.stuck = false;
                inst.abandon();
                inst.state = State::Offline;
                write_state(&fmri, inst, None, "clear_request");
            }
            "clear" => {
                return Some(format!("Instance \"{fmri}\" is not in a maintenance or degraded state."));
            }
            "maintenance" => inst.maintenance = true,
            // As in svc.startd(1M); svcadm(1M) is not told.
            "degraded" => eprintln!("Restarter: ADMIN_DEGRADED command (for {fmri}) unimplemented."),
            "wait-online" | "wait-disabled" => {
                let Ok(stream) = stream.try_clone() else { return Some("error".into()) };
                inst.waiters.push(Waiter { online: verb == "wait-online", stream });
                return None;
            }
            _ => {}
        }
        Some("ok".into())
    }

    /// Handles a report of a holder.
    fn report(&mut self, serial: u64, report: Report) {
        let is = |holder: &Option<Holder>| holder.as_ref().is_some_and(|holder| holder.serial == serial);
        let found = self.instances.iter().find(|(_, inst)| is(&inst.primary) || is(&inst.helper));
        let Some((fmri, of_service)) = found.map(|(fmri, inst)| (fmri.clone(), is(&inst.primary))) else {
            return;
        };
        let Some(inst) = self.instances.get_mut(&fmri) else { return };
        let (fmri, groups) = (&fmri, effective(&fmri));
        match (report, inst.phase) {
            (Report::Method(result), Phase::Starting) if of_service => start_done(fmri, inst, result),
            (Report::Method(result), _) if !of_service => helper_done(fmri, inst, result),
            (Report::Fatal { core }, Phase::Idle | Phase::Refreshing) if of_service && inst.runs() => {
                let ignored =
                    groups.get("startd").and_then(|group| group.get("ignore_error")).unwrap_or_default();
                if !ignored.split(',').any(|word| word.trim() == if core { "core" } else { "signal" }) {
                    self.fault(
                        fmri,
                        match core {
                            true => "process dumped core",
                            false => "process received fatal signal from outside the service",
                        },
                    );
                }
            }
            (Report::Empty, phase) if of_service => {
                inst.primary = None;
                match phase {
                    Phase::Idle | Phase::Refreshing if inst.runs() && !is_transient(&groups) => {
                        self.fault(fmri, "all processes in service exited");
                    }
                    Phase::Starting => start_done(fmri, inst, Err(Signal::SIGKILL as i32)),
                    Phase::Stopping { after, method_done: true } => stopped(fmri, inst, after),
                    _ => {}
                }
            }
            (Report::Empty, _) => inst.helper = None,
            _ => {}
        }
    }

    /// Handles a failed service: it is stopped and started again, unless that happens too often.
    fn fault(&mut self, fmri: &Fmri, reason: &str) {
        let Some(inst) = self.instances.get_mut(fmri) else { return };
        let groups = effective(fmri);
        let number = |name: &str| groups.get("startd")?.get(name)?.parse::<u64>().ok();
        let limit = number("critical_failure_count").zip(number("critical_failure_period"));
        let limit = limit.map(|(count, period)| {
            (usize::try_from(count).unwrap_or(usize::MAX), Duration::from_secs(period))
        });
        let now = Instant::now();
        let too_many = inst.faulted(now, limit);
        log::line(fmri, &format!("Stopping because {reason}."));
        let after = match (inst.too_quick(now), too_many) {
            (true, _) => {
                log::line(fmri, "Restarting too quickly, changing state to maintenance.");
                After::Maintenance("restarting_too_quickly")
            }
            (false, true) => After::Maintenance("fault_threshold_reached"),
            (false, false) => After::Offline,
        };
        if let Some(helper) = inst.helper.take() {
            process::signal(helper.pid, Signal::SIGKILL);
        }
        self.stop(fmri, after);
    }

    /// Handles a method, or a wait for the last process, that has timed out.
    fn overdue(&mut self) {
        let now = Instant::now();
        for (fmri, inst) in &mut self.instances {
            if inst.deadline.is_none_or(|deadline| deadline > now) {
                continue;
            }
            // A process may fork while it is being killed; its child is killed in a second round.
            inst.deadline = Some(now + Duration::from_secs(1));
            let holders = match inst.phase {
                Phase::Idle => {
                    inst.deadline = None;
                    continue;
                }
                Phase::Refreshing => [None, inst.helper.as_ref()],
                _ => [inst.primary.as_ref(), inst.helper.as_ref()],
            };
            for holder in holders.into_iter().flatten() {
                log::line(
                    fmri,
                    &format!("Method or service exit timed out.  Killing contract {}.", holder.pid),
                );
                process::signal(holder.pid, Signal::SIGKILL);
            }
        }
    }

    /// Answers the commands that wait for an instance which has reached a stable state.
    pub(super) fn answer(&mut self, repo: &Repository) {
        for (fmri, inst) in &mut self.instances {
            if inst.phase != Phase::Idle || inst.waiters.is_empty() {
                continue;
            }
            let (runs, state) = (inst.runs(), inst.state);
            let blocked = state == State::Offline && depend::blocked(repo, fmri).is_some();
            inst.waiters.retain(|waiter| {
                let answer = match (waiter.online, state) {
                    (true, _) if runs => "ok",
                    (false, State::Disabled) => "ok",
                    (_, State::Maintenance) => "maintenance",
                    (true, State::Disabled | State::Uninitialized) => "disabled",
                    (true, _) if blocked => "dependencies",
                    _ => return true,
                };
                _ = writeln!(&waiter.stream, "{answer}");
                false
            });
        }
    }
}
