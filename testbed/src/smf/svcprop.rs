//! svcprop(1).

use std::hash::{DefaultHasher, Hasher};

use lexopt::prelude::*;

use super::fmri::{Fmri, entities, instances};
use super::repo::{Property, Repository, View};
use super::value;
use crate::cli;

const USAGE: &str = "usage: svcprop [-fqtv] [-C | -c | -s snapshot] [-p [name/]name]... {FMRI | pattern}...";

pub(crate) fn main(mut args: lexopt::Parser) -> anyhow::Result<u8> {
    let (mut quiet, mut table, mut full, mut verbose) = (false, false, false, false);
    let (mut view, mut wanted, mut operands) = (View::Effective, Vec::new(), Vec::new());
    while let Some(arg) = args.next()? {
        match arg {
            Short('q') => quiet = true,
            Short('t') => table = true,
            Short('f') => full = true,
            Short('v') => verbose = true,
            Short('C') => view = View::Direct,
            Short('c') => view = View::Composed,
            Short('s') => match args.value()?.string()?.as_str() {
                "running" => view = View::Effective,
                other => return Err(cli::exit(1, format!("no snapshot {other}"))),
            },
            Short('p') => wanted.push(args.value()?.string()?),
            Value(operand) => operands.push(operand.string()?),
            _ => return Err(cli::exit(2, USAGE)),
        }
    }
    if operands.is_empty() {
        return Err(cli::exit(2, USAGE));
    }
    let repo = Repository::read()?;
    let (mut rows, mut status, mut chosen): (Vec<(Fmri, String, Property)>, u8, Vec<Fmri>) =
        (Vec::new(), 0, Vec::new());
    for operand in &operands {
        // An abbreviation matches a service's instances, the full FMRI the service itself.
        let mut found = entities(&repo, operand);
        if !operand.starts_with("svc:") {
            found.extend(instances(&repo, operand));
            if found.iter().any(|fmri| fmri.instance.is_some()) {
                found.retain(|fmri| fmri.instance.is_some());
            }
            found.sort();
            found.dedup();
        }
        if found.is_empty() {
            if !quiet || verbose {
                eprintln!("svcprop: Pattern '{operand}' doesn't match any entities");
            }
            status = 1;
        }
        chosen.extend(found);
    }
    for fmri in &chosen {
        let groups = repo.view(fmri, view)?;
        let mut all = Vec::new();
        for (group_name, group) in groups.clone() {
            let properties = group.properties.into_iter();
            all.extend(properties.map(|(name, property)| (format!("{group_name}/{name}"), property)));
        }
        // The order is arbitrary, so that no test relies on it: neither the order of the names nor its reverse.
        all.sort_by_key(|(name, _)| hash(name));
        if wanted.is_empty() {
            rows.extend(all.iter().map(|(name, property)| (fmri.clone(), name.clone(), property.clone())));
        }
        for name in &wanted {
            let group = format!("{name}/");
            let before = rows.len();
            let matching = all.iter().filter(|(full, _)| full == name || full.starts_with(&group));
            rows.extend(matching.map(|(full, property)| (fmri.clone(), full.clone(), property.clone())));
            if rows.len() == before && !groups.contains_key(name) {
                if !quiet || verbose {
                    eprintln!("svcprop: Couldn't find property '{name}' for instance '{fmri}'");
                }
                status = 1;
            }
        }
    }
    if quiet {
        return Ok(status);
    }
    let single =
        chosen.len() == 1 && matches!(wanted.as_slice(), [name] if name.contains('/')) && !table && !full;
    for (fmri, name, Property { kind, values }) in &rows {
        let values: Vec<String> = values.iter().map(|value| value::for_shell(value)).collect();
        if single {
            println!("{}", values.join(" "));
        } else if full || chosen.len() > 1 {
            println!("{}", format!("{fmri}/:properties/{name} {kind} {}", values.join(" ")).trim_end());
        } else {
            println!("{}", format!("{name} {kind} {}", values.join(" ")).trim_end());
        }
    }
    Ok(status)
}

fn hash(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(name.as_bytes());
    hasher.finish()
}
