//! The effect of a method's end on an instance, and the reports of its state to the repository and the log.

use nix::sys::signal::Signal;

use super::super::fmri::Fmri;
use super::super::repo::{Groups, Repository, View};
use super::instance::{After, Inst, Phase, State};
use super::log;

/// Exit statuses of methods that put the instance into maintenance at once: SMF_EXIT_ERR_NOSMF, _FATAL, _CONFIG and _PERM.
const NOT_RETRIED: [i32; 4] = [94, 95, 96, 100];
/// How many consecutive failures of a start method are allowed.
const FAILURES: u8 = 3;

pub(super) fn effective(fmri: &Fmri) -> Groups {
    Repository::read().and_then(|repo| repo.view(fmri, View::Effective)).unwrap_or_default()
}

pub(super) fn is_transient(groups: &Groups) -> bool {
    groups.get("startd").and_then(|group| group.get("duration")) == Some("transient")
}

/// Writes the state for svcs(1) and svcprop(1).
pub(super) fn write_state(fmri: &Fmri, inst: &Inst, next: Option<State>, auxiliary: &str) {
    let stamp = jiff::Timestamp::now();
    let stamp = format!("{}.{:09}", stamp.as_second(), stamp.subsec_nanosecond());
    let next = next.map_or_else(|| "none".to_owned(), |next| next.to_string());
    let contract = inst.primary.as_ref().map(|holder| holder.pid.to_string());
    let written = Repository::update(|repo| {
        let state = inst.state.to_string();
        if repo.state(fmri, "state") != Some(state.as_str()) {
            repo.set_volatile(fmri, "restarter", "state_timestamp", "time", Some(&stamp));
        }
        repo.set_volatile(fmri, "restarter", "state", "astring", Some(&state));
        repo.set_volatile(fmri, "restarter", "next_state", "astring", Some(&next));
        repo.set_volatile(fmri, "restarter", "auxiliary_state", "astring", Some(auxiliary));
        repo.set_volatile(fmri, "restarter", "logfile", "astring", Some(&fmri.log()));
        repo.set_volatile(fmri, "restarter", "contract", "count", contract.as_deref());
        Ok(())
    });
    if let Err(error) = written {
        eprintln!("svc.startd: {fmri}: {error:#}");
    }
}

/// Records how the start method ended, for svcs -x.
pub(super) fn write_start_status(fmri: &Fmri, result: Result<i32, i32>) {
    let text = match result {
        Ok(status) => format!("exited {status}"),
        Err(signal) => format!("died {signal}"),
    };
    _ = Repository::update(|repo| {
        repo.set_volatile(fmri, "restarter", "start_method_status", "astring", Some(&text));
        Ok(())
    });
}

pub(super) fn log_result(fmri: &Fmri, name: &str, result: Result<i32, i32>) {
    match result {
        Ok(status) => log::line(fmri, &format!("Method \"{name}\" exited with status {status}.")),
        Err(signal) => {
            let signal = Signal::try_from(signal)
                .map_or_else(|_| signal.to_string(), |signal| signal.as_str()[3..].to_owned());
            log::line(fmri, &format!("Method \"{name}\" failed due to signal {signal}."));
        }
    }
}

/// The start method has ended.
pub(super) fn start_done(fmri: &Fmri, inst: &mut Inst, result: Result<i32, i32>) {
    log_result(fmri, "start", result);
    write_start_status(fmri, result);
    inst.deadline = None;
    inst.phase = Phase::Idle;
    if result == Ok(0) {
        inst.failures = 0;
        inst.state = State::Online;
        return write_state(fmri, inst, None, "none");
    }
    // As in svc.startd(1M), what the method has left behind runs on and may be in the way of the next start.
    inst.abandon();
    inst.failures += 1;
    let at_once = result.is_ok_and(|status| NOT_RETRIED.contains(&status));
    if at_once || inst.failures >= FAILURES {
        inst.state = State::Maintenance;
        inst.failures = 0;
        let auxiliary = if at_once { "method_failed" } else { "fault_threshold_reached" };
        write_state(fmri, inst, None, auxiliary);
    } else {
        write_state(fmri, inst, None, "none");
    }
}

/// The stop or refresh method has ended.
pub(super) fn helper_done(fmri: &Fmri, inst: &mut Inst, result: Result<i32, i32>) {
    match inst.phase {
        Phase::Refreshing => {
            log_result(fmri, "refresh", result);
            inst.phase = Phase::Idle;
            inst.deadline = None;
        }
        Phase::Stopping { after, method_done: false } => {
            log_result(fmri, "stop", result);
            if result == Ok(0) {
                return stop_method_done(fmri, inst, after);
            }
            // As svc.startd(1M) does, which leaves the processes of the service running.
            inst.stuck = true;
            stopped(fmri, inst, After::Maintenance("stop_method_failed"));
        }
        _ => {}
    }
}

/// The stop method has succeeded; the instance is stopped once its last process has ended.
pub(super) fn stop_method_done(fmri: &Fmri, inst: &mut Inst, after: After) {
    match inst.primary {
        None => stopped(fmri, inst, after),
        Some(_) => inst.phase = Phase::Stopping { after, method_done: true },
    }
}

pub(super) fn stopped(fmri: &Fmri, inst: &mut Inst, after: After) {
    inst.phase = Phase::Idle;
    inst.deadline = None;
    let auxiliary = match after {
        After::Disabled => {
            log::line(fmri, "Disabled.");
            inst.state = State::Disabled;
            "none"
        }
        After::Offline => {
            inst.state = State::Offline;
            "none"
        }
        After::Maintenance(auxiliary) => {
            inst.state = State::Maintenance;
            auxiliary
        }
    };
    write_state(fmri, inst, None, auxiliary);
}

/// A method that cannot even be run counts as failed, and a retry would not help.
pub(super) fn bad_method(fmri: &Fmri, inst: &mut Inst, name: &str, error: &anyhow::Error) {
    log::line(fmri, &format!("Method \"{name}\" cannot run: {error:#}."));
    stopped(fmri, inst, After::Maintenance("method_failed"));
}
