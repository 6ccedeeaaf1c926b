//! `svcs -x`: why a service is in the state it is in.

use nix::sys::signal::Signal;

use super::fmri::Fmri;
use super::repo::{Groups, Repository, View};
use super::startd::depend;
use super::svcs::{common_name, needs, since};

/// Explains the instances; unless they were named, only those with a problem.
pub(crate) fn print(repo: &Repository, chosen: &[Fmri], named: bool, verbose: bool) {
    for fmri in chosen {
        let state = repo.state(fmri, "state").unwrap_or("uninitialized");
        let waiting: Vec<Fmri> = repo
            .instances()
            .filter(|other| needs(repo, other).contains(fmri) && is_down(repo, other))
            .collect();
        if !named && !is_down(repo, fmri) && waiting.is_empty() {
            continue;
        }
        println!("{fmri} ({})", common_name(repo, fmri).unwrap_or_else(|| "?".into()));
        let time = since(repo, fmri).map(|time| format!(" since {}", time.strftime("%a %b %e %H:%M:%S %Y")));
        println!(" State: {state}{}", time.unwrap_or_default());
        if let Some((reason, message)) = reason(repo, fmri, state) {
            println!("Reason: {reason}\n   See: http://illumos.org/msg/SMF-8000-{message}");
        }
        documents(&repo.view(fmri, View::Composed).unwrap_or_default(), verbose);
        println!("   See: {}", fmri.log());
        let own =
            if matches!(state, "online" | "degraded") { "None." } else { "This service is not running." };
        match (waiting.as_slice(), verbose) {
            ([], _) => println!("Impact: {own}"),
            (list, true) => {
                println!("Impact: {} dependent services are not running:", list.len());
                list.iter().for_each(|fmri| println!("        {fmri}"));
            }
            (list, false) => {
                println!("Impact: {} dependent services are not running.  (Use -v for list.)", list.len())
            }
        }
        println!();
    }
}

/// Enabled and not running.
fn is_down(repo: &Repository, fmri: &Fmri) -> bool {
    let state = repo.state(fmri, "state").unwrap_or_default();
    repo.enabled(fmri).0 && !matches!(state, "online" | "degraded")
}

/// The sentence of a state, and the last part of the message's number.
fn reason(repo: &Repository, fmri: &Fmri, state: &str) -> Option<(String, &'static str)> {
    let auxiliary = repo.state(fmri, "auxiliary_state").unwrap_or_default();
    let last = repo.state(fmri, "start_method_status").unwrap_or_default();
    let (how, number) = last.split_once(' ').unwrap_or_default();
    let number: i32 = number.parse().unwrap_or(0);
    Some(match (state, auxiliary) {
        ("online", _) => return None,
        ("disabled", _) if repo.enabled(fmri).1 => ("Temporarily disabled by an administrator.".into(), "1S"),
        ("disabled", _) => ("Disabled by an administrator.".into(), "05"),
        ("maintenance", "administrative_request") => {
            ("Maintenance requested by an administrator.".into(), "63")
        }
        ("maintenance", "restarting_too_quickly") => ("Restarting too quickly.".into(), "L5"),
        ("maintenance", "stop_method_failed") => ("Stop method failed.".into(), "8Q"),
        ("maintenance", "method_failed") if (how, number) == ("exited", 96) => {
            ("Start method exited with $SMF_EXIT_ERR_CONFIG.".into(), "KS")
        }
        ("maintenance", "method_failed") if (how, number) == ("exited", 95) => {
            ("Start method exited with $SMF_EXIT_ERR_FATAL.".into(), "KS")
        }
        ("maintenance", "fault_threshold_reached") if how == "died" => {
            let name = Signal::try_from(number).map_or_else(|_| "signal".into(), |signal| signal.to_string());
            (format!("Start method failed repeatedly, last died on {name} ({number})."), "KS")
        }
        ("maintenance", "fault_threshold_reached") if number != 0 => {
            (format!("Start method failed repeatedly, last exited with status {number}."), "KS")
        }
        ("maintenance", _) => ("Method failed.".into(), "8Q"),
        ("offline", _) => match depend::blocked(repo, fmri) {
            Some(blocked) if blocked.state == "absent" => {
                (format!("Dependency {} is absent.", blocked.entity), "E2")
            }
            Some(blocked) if blocked.exclude => (format!("Service {} is running.", blocked.entity), "GE"),
            Some(blocked) => (format!("Service {} is {}.", blocked.entity, blocked.state), "GE"),
            None => ("Start method is running.".into(), "C4"),
        },
        ("degraded", _) => ("Degraded by an administrator.".into(), "VE"),
        _ => ("Unknown.".into(), "AR"),
    })
}

/// The manual pages and documents that the template names.
fn documents(groups: &Groups, verbose: bool) {
    for (name, group) in groups {
        let get = |property: &str| group.get(property).unwrap_or_default();
        if name.starts_with("tm_man_") {
            let (title, section, path) = (get("title"), get("section"), get("manpath"));
            match (verbose, path) {
                (false, _) => println!("   See: {title}({section})"),
                (true, ":default") => println!("   See: man -s {section} {title}"),
                (true, path) => println!("   See: man -M {path} -s {section} {title}"),
            }
        } else if name.starts_with("tm_doc_") {
            println!("   See: {}", get("uri"));
        }
    }
}
