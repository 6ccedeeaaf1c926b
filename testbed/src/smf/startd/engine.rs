//! The loop of the restarter and the transitions of an instance.

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
use super::method::{Method, prepare, timeout};
use super::outcome::{
    bad_method, effective, helper_done, is_transient, start_done, stop_method_done, stopped, write_state,
};
use super::{Event, depend, log};

pub(crate) struct Engine {
    instances: BTreeMap<Fmri, Inst>,
    sender: Sender<Event>,
    serial: u64,
}

impl Engine {
    pub(crate) fn new(sender: Sender<Event>) -> Engine {
        Engine { instances: BTreeMap::new(), sender, serial: 0 }
    }

    /// Takes up all instances of the repository.
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

    /// Does what a command asks; None when the answer has to wait.
    fn request(&mut self, line: &str, stream: &std::os::unix::net::UnixStream) -> Option<String> {
        let (verb, name) = line.split_once(' ').unwrap_or((line, ""));
        let Ok(fmri) = Fmri::parse(name) else { return Some("error: no FMRI".into()) };
        if verb == "delete" {
            if let Some(primary) = self.instances.remove(&fmri).and_then(|inst| inst.primary) {
                process::signal(primary.pid, Signal::SIGKILL);
            }
            return Some("ok".into());
        }
        self.settle();
        let Some(inst) = self.instances.get_mut(&fmri) else { return Some("ok".into()) };
        match verb {
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
                inst.state = State::Offline;
                write_state(&fmri, inst, None, "clear_request");
            }
            "maintenance" => inst.maintenance = true,
            "wait-online" | "wait-disabled" => {
                let Ok(stream) = stream.try_clone() else { return Some("error".into()) };
                inst.waiters.push(Waiter { online: verb == "wait-online", stream });
                return None;
            }
            _ => {}
        }
        Some("ok".into())
    }

    /// A holder has told something.
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

    /// The service has failed: it is stopped, to be started again unless that happens too often.
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

    /// Something has taken too long.
    fn overdue(&mut self) {
        let now = Instant::now();
        for (fmri, inst) in &mut self.instances {
            if inst.deadline.is_none_or(|deadline| deadline > now) {
                continue;
            }
            // Whoever forks while it is killed is killed in a second round.
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

    /// Moves all instances until none has anything to do.
    fn settle(&mut self) {
        loop {
            let Ok(repo) = Repository::read() else { return };
            for fmri in repo.instances() {
                self.instances.entry(fmri).or_insert_with(Inst::new);
            }
            let names: Vec<Fmri> = self.instances.keys().cloned().collect();
            let mut moved = false;
            for fmri in names {
                // Each step sees what the one before has written.
                let Ok(repo) = Repository::read() else { return };
                moved |= self.step(&repo, &fmri);
            }
            if !moved {
                self.answer(&repo);
                return;
            }
        }
    }

    /// Brings one instance a step nearer to what it should be; false when it is there, or busy.
    fn step(&mut self, repo: &Repository, fmri: &Fmri) -> bool {
        let Some(inst) = self.instances.get_mut(fmri) else { return false };
        let Some(known) = repo.instance(fmri) else { return false };
        if inst.phase != Phase::Idle {
            return false;
        }
        let (enabled, _) = repo.enabled(fmri);
        match inst.state {
            State::Uninitialized => {
                // An instance that nobody enabled or disabled yet is none of the restarter's business.
                if !enabled && !known.groups.contains_key("general") {
                    return false;
                }
                if known.running.is_none() && Repository::update(|repo| repo.refresh(fmri)).is_err() {
                    return false;
                }
                inst.state = State::Disabled;
                write_state(fmri, inst, None, "none");
                true
            }
            State::Disabled if enabled => {
                log::line(fmri, "Enabled.");
                inst.clear();
                inst.state = State::Offline;
                write_state(fmri, inst, None, "none");
                true
            }
            State::Offline | State::Maintenance if !enabled => {
                log::line(fmri, "Disabled.");
                inst.state = State::Disabled;
                inst.maintenance = false;
                write_state(fmri, inst, None, "none");
                true
            }
            State::Offline if inst.maintenance => {
                inst.maintenance = false;
                inst.state = State::Maintenance;
                write_state(fmri, inst, None, "administrative_request");
                true
            }
            // Not before the last process of the previous start is gone.
            State::Offline if inst.primary.is_none() && depend::blocked(repo, fmri).is_none() => {
                self.start(fmri);
                true
            }
            State::Online => {
                if !enabled {
                    log::line(fmri, "Stopping because service disabled.");
                    self.stop(fmri, After::Disabled);
                } else if std::mem::take(&mut inst.maintenance) {
                    log::line(fmri, "Stopping because maintenance requested.");
                    self.stop(fmri, After::Maintenance("administrative_request"));
                } else if std::mem::take(&mut inst.restart) {
                    log::line(fmri, "Stopping because service restarting.");
                    inst.clear();
                    self.stop(fmri, After::Offline);
                } else if std::mem::take(&mut inst.refresh) {
                    self.refresh(fmri);
                } else {
                    return false;
                }
                true
            }
            _ => {
                inst.refresh = false;
                false
            }
        }
    }

    fn start(&mut self, fmri: &Fmri) {
        let Some(inst) = self.instances.get_mut(fmri) else { return };
        let groups = effective(fmri);
        inst.phase = Phase::Starting;
        inst.started(Instant::now());
        inst.refresh = false;
        write_state(fmri, inst, Some(State::Online), "none");
        match prepare(&groups, fmri, "start") {
            Ok(Some(Method::True)) => start_done(fmri, inst, Ok(0)),
            Ok(Some(Method::Run(run))) => {
                log::line(fmri, &format!("Executing start method (\"{}\").", run.exec));
                inst.deadline =
                    timeout(&groups, "start").map(|seconds| Instant::now() + Duration::from_secs(seconds));
                self.serial += 1;
                match log::open(fmri)
                    .and_then(|log| Holder::start(&run, log, self.serial, self.sender.clone()))
                {
                    Ok(holder) => inst.primary = Some(holder),
                    Err(error) => bad_method(fmri, inst, "start", &error),
                }
            }
            Ok(_) => bad_method(fmri, inst, "start", &anyhow::anyhow!("no such method, or :kill")),
            Err(error) => bad_method(fmri, inst, "start", &error),
        }
    }

    fn stop(&mut self, fmri: &Fmri, after: After) {
        let Some(inst) = self.instances.get_mut(fmri) else { return };
        let groups = effective(fmri);
        let seconds = timeout(&groups, "stop");
        inst.deadline = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        inst.phase = Phase::Stopping { after, method_done: false };
        inst.restart = false;
        let next = match after {
            After::Disabled => State::Disabled,
            After::Offline => State::Offline,
            After::Maintenance(_) => State::Maintenance,
        };
        write_state(fmri, inst, Some(next), "none");
        match prepare(&groups, fmri, "stop") {
            Ok(Some(Method::True)) => stop_method_done(fmri, inst, after),
            Ok(Some(Method::Kill(signal))) => {
                log::line(fmri, "Executing stop method (:kill).");
                if let Some(primary) = &inst.primary {
                    process::signal(primary.pid, signal);
                }
                stop_method_done(fmri, inst, after);
            }
            Ok(Some(Method::Run(run))) => {
                log::line(fmri, &format!("Executing stop method (\"{}\").", run.exec));
                self.serial += 1;
                match log::open(fmri)
                    .and_then(|log| Holder::start(&run, log, self.serial, self.sender.clone()))
                {
                    Ok(holder) => inst.helper = Some(holder),
                    Err(error) => bad_method(fmri, inst, "stop", &error),
                }
            }
            Ok(None) => bad_method(fmri, inst, "stop", &anyhow::anyhow!("no such method")),
            Err(error) => bad_method(fmri, inst, "stop", &error),
        }
    }

    fn refresh(&mut self, fmri: &Fmri) {
        let Some(inst) = self.instances.get_mut(fmri) else { return };
        let groups = effective(fmri);
        log::line(fmri, "Rereading configuration.");
        let run = match prepare(&groups, fmri, "refresh") {
            Ok(Some(Method::Run(run))) => run,
            Ok(Some(Method::Kill(signal))) => {
                if let Some(primary) = &inst.primary {
                    process::signal(primary.pid, signal);
                }
                return;
            }
            Ok(_) => return,
            Err(error) => return log::line(fmri, &format!("Method \"refresh\" cannot run: {error:#}.")),
        };
        log::line(fmri, &format!("Executing refresh method (\"{}\").", run.exec));
        self.serial += 1;
        match log::open(fmri).and_then(|log| Holder::start(&run, log, self.serial, self.sender.clone())) {
            Ok(holder) => {
                inst.helper = Some(holder);
                inst.phase = Phase::Refreshing;
                inst.deadline =
                    timeout(&groups, "refresh").map(|seconds| Instant::now() + Duration::from_secs(seconds));
            }
            Err(error) => log::line(fmri, &format!("Method \"refresh\" cannot run: {error:#}.")),
        }
    }

    /// Answers those who wait for an instance that has come to rest.
    fn answer(&mut self, repo: &Repository) {
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
