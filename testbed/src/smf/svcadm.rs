//! svcadm(1M).

use anyhow::bail;
use lexopt::prelude::*;

use super::fmri::{Fmri, instances};
use super::repo::{Group, Property, Repository, View};
use super::startd::broker::delegate;
use super::{auth, depend_of, door};
use crate::cli;

const USAGE: &str = "usage: svcadm [-v] {enable [-rst] | disable [-st] | restart | refresh | clear | mark [-It] {maintenance | degraded}} \
                     {FMRI | pattern}...";

/// A service that was waited for cannot reach the state without intervention: because of itself, or of a dependency.
const OWN_PROBLEM: u8 = 3;
const DEPENDENCIES: u8 = 4;

pub(crate) fn main(mut args: lexopt::Parser) -> anyhow::Result<u8> {
    if let Some(status) = delegate("svcadm")? {
        return Ok(status);
    }
    let usage = || cli::exit(2, USAGE);
    let (mut verbose, mut command, mut flags, mut operands) = (false, None, Vec::new(), Vec::new());
    while let Some(arg) = args.next()? {
        match arg {
            Short('v') if command.is_none() => verbose = true,
            Short(flag) if command.is_some() => flags.push(flag),
            Value(word) if command.is_none() => command = Some(word.string()?),
            Value(word) => operands.push(word.string()?),
            _ => return Err(usage()),
        }
    }
    let command = command.ok_or_else(usage)?;
    let allowed = match command.as_str() {
        "enable" => "rst",
        "disable" => "st",
        "mark" => "It",
        "restart" | "refresh" | "clear" => "",
        _ => return Err(usage()),
    };
    if flags.iter().any(|flag| !allowed.contains(*flag)) {
        return Err(usage());
    }
    let mark = if command == "mark" && !operands.is_empty() { Some(operands.remove(0)) } else { None };
    if operands.is_empty()
        || mark.as_deref().is_some_and(|state| !matches!(state, "maintenance" | "degraded"))
    {
        return Err(usage());
    }
    let (mut chosen, mut status) = (Vec::new(), 0);
    let repo = Repository::read()?;
    for operand in &operands {
        let found = instances(&repo, operand);
        let pattern = operand.contains(['*', '?', '[']);
        let services = found.iter().map(Fmri::of_service).collect::<std::collections::BTreeSet<_>>().len();
        match found.as_slice() {
            [] => {
                eprintln!("svcadm: Pattern '{operand}' doesn't match any instances");
                status = 1;
            }
            [_] => chosen.extend(found),
            _ if pattern => chosen.extend(found),
            many => {
                let names: Vec<String> = many.iter().map(|fmri| format!("\t{fmri}")).collect();
                let what = if services > 1 { "services" } else { "instances" };
                eprintln!("svcadm: Pattern '{operand}' matches multiple {what}:\n{}", names.join("\n"));
                status = 1;
            }
        }
    }
    let (temporary, wait) = (flags.contains(&'t'), flags.contains(&'s'));
    if flags.contains(&'r') {
        let direct = chosen.clone();
        direct.iter().for_each(|fmri| depend_of(&repo, fmri, &mut chosen));
    }
    for fmri in &chosen {
        match command.as_str() {
            "enable" | "disable" => {
                enable(fmri, command == "enable", temporary)?;
                tell(&format!("changed {fmri}"))?;
            }
            verb => {
                auth::action(&repo, fmri)?;
                tell(&format!("{} {fmri}", mark.as_deref().unwrap_or(verb)))?;
            }
        }
        if verbose {
            match command.as_str() {
                "enable" | "disable" => println!("{fmri} {command}d."),
                "clear" => println!("Action maint_off set for {fmri}."),
                "mark" => println!("Action maint_on set for {fmri}."),
                verb => println!("Action {verb} set for {fmri}."),
            }
        }
    }
    if wait {
        for fmri in &chosen {
            match door::call(&format!(
                "wait-{} {fmri}",
                if command == "enable" { "online" } else { "disabled" }
            ))?
            .as_str()
            {
                "ok" => {}
                "dependencies" => {
                    eprintln!("svcadm: Instance \"{fmri}\" has unsatisfied dependencies.");
                    status = DEPENDENCIES;
                }
                "maintenance" => {
                    eprintln!("svcadm: Instance \"{fmri}\" is in maintenance state.");
                    status = OWN_PROBLEM;
                }
                other => bail!("Instance \"{fmri}\": {other}"),
            }
        }
    }
    Ok(status)
}

/// Sends a request to the restarter, and prints its refusal.
fn tell(request: &str) -> anyhow::Result<()> {
    match door::call(request)?.as_str() {
        "ok" => Ok(()),
        answer => bail!("{answer}"),
    }
}

fn enable(fmri: &Fmri, enabled: bool, temporary: bool) -> anyhow::Result<()> {
    Repository::update(|repo| {
        let composed = repo.view(fmri, View::Composed)?;
        if temporary {
            auth::action(repo, fmri)?;
        }
        let groups = repo.groups_mut(fmri)?;
        let old = groups.clone();
        let value = Property::one("boolean", enabled.to_string());
        if temporary {
            let group = groups
                .entry("general_ovr".to_owned())
                .or_insert_with(|| Group { nonpersistent: true, ..Group::new("framework") });
            group.set("enabled", value);
            return Ok(());
        }
        groups.entry("general".to_owned()).or_insert_with(|| Group::new("framework")).set("enabled", value);
        auth::change(&old, groups, &composed)?;
        groups.remove("general_ovr");
        Ok(())
    })
}
