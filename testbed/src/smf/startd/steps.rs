//! The transitions of an instance: the restarter's next operation, and the method for it.

use std::time::{Duration, Instant};

use super::super::fmri::Fmri;
use super::super::process;
use super::super::repo::Repository;
use super::contract::Holder;
use super::engine::Engine;
use super::instance::{After, Inst, Phase, State};
use super::method::{Method, prepare, timeout};
use super::outcome::{bad_method, effective, start_done, stop_method_done, write_state};
use super::{depend, log};

impl Engine {
    /// Advances all instances until none has anything to do.
    pub(super) fn settle(&mut self) {
        loop {
            let Ok(repo) = Repository::read() else { return };
            for fmri in repo.instances() {
                self.instances.entry(fmri).or_insert_with(Inst::new);
            }
            let names: Vec<Fmri> = self.instances.keys().cloned().collect();
            let mut moved = false;
            for fmri in names {
                // Each step sees the writes of the one before.
                let Ok(repo) = Repository::read() else { return };
                moved |= self.step(&repo, &fmri);
            }
            if !moved {
                self.answer(&repo);
                return;
            }
        }
    }

    /// Moves one instance a step towards its target state; false if it is there, or busy.
    fn step(&mut self, repo: &Repository, fmri: &Fmri) -> bool {
        let Some(inst) = self.instances.get_mut(fmri) else { return false };
        let Some(known) = repo.instance(fmri) else { return false };
        if inst.phase != Phase::Idle {
            return false;
        }
        let (enabled, _) = repo.enabled(fmri);
        match inst.state {
            State::Uninitialized => {
                // The restarter ignores an instance that was never enabled or disabled.
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
            State::Offline | State::Maintenance if !enabled && !inst.stuck => {
                log::line(fmri, "Disabled.");
                if inst.state == State::Maintenance {
                    inst.abandon();
                }
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
            // Not before the last process of the previous start has ended.
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

    pub(super) fn stop(&mut self, fmri: &Fmri, after: After) {
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
}
