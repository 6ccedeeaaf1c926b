//! svcs(1).

use std::collections::BTreeMap;

use jiff::{Timestamp, Zoned, tz::TimeZone};
use lexopt::prelude::*;

use super::fmri::{Fmri, instances};
use super::repo::{Repository, View};
use super::startd::depend;
use super::{RESTARTER, explain, process};
use crate::cli;

const USAGE: &str = "usage: svcs [-aHpv] [-o col[,col]...] [FMRI | pattern]...\n\
                     \x20      svcs {-d | -D} [-Hpv] [-o col[,col]...] [FMRI | pattern]...\n\
                     \x20      svcs {-l | -L} [FMRI | pattern]...\n\
                     \x20      svcs -x [-v] [FMRI]...";

pub(crate) fn main(mut args: lexopt::Parser) -> anyhow::Result<u8> {
    let (mut flags, mut columns, mut operands) = (String::new(), Vec::new(), Vec::new());
    while let Some(arg) = args.next()? {
        match arg {
            Short(flag @ ('a' | 'H' | 'p' | 'v' | 'l' | 'L' | 'x' | 'd' | 'D')) => flags.push(flag),
            Short('o') => {
                columns.extend(args.value()?.string()?.to_lowercase().split(',').map(str::to_owned))
            }
            Value(operand) => operands.push(operand.string()?),
            _ => return Err(cli::exit(2, USAGE)),
        }
    }
    let has = |flag| flags.contains(flag);
    let repo = Repository::read()?;
    let (mut chosen, mut status) = (Vec::new(), 0);
    for operand in &operands {
        let found = instances(&repo, operand);
        if found.is_empty() {
            eprintln!("svcs: Pattern '{operand}' doesn't match any instances");
            status = 1;
        }
        chosen.extend(found);
    }
    if operands.is_empty() {
        let runs = |fmri: &Fmri| {
            repo.enabled(fmri).0
                || repo.view(fmri, View::Composed).is_ok_and(|groups| {
                    groups.get("general").and_then(|group| group.get("enabled")) == Some("true")
                })
        };
        chosen = repo.instances().filter(|fmri| has('a') || has('x') || runs(fmri)).collect();
    }
    if has('x') {
        explain::print(&repo, &chosen, !operands.is_empty(), has('v'));
        return Ok(status);
    }
    if has('l') {
        for (number, fmri) in chosen.iter().enumerate() {
            if number > 0 {
                println!();
            }
            list(&repo, fmri);
        }
        return Ok(status);
    }
    if has('L') {
        chosen.iter().for_each(|fmri| println!("{}", fmri.log()));
        return Ok(status);
    }
    if has('d') {
        chosen = chosen.iter().flat_map(|fmri| needs(&repo, fmri)).collect();
    } else if has('D') {
        let needed = |other: &Fmri| needs(&repo, other).iter().any(|fmri| chosen.contains(fmri));
        chosen = repo.instances().filter(needed).collect();
    }
    if columns.is_empty() {
        let default = if has('v') { "state,nstate,stime,ctid,fmri" } else { "state,stime,fmri" };
        columns = default.split(',').map(str::to_owned).collect();
    }
    let known = ["state", "sta", "nstate", "nsta", "stime", "ctid", "fmri", "svc", "inst", "desc", "scope"];
    if let Some(unknown) = columns.iter().find(|column| !known.contains(&column.as_str())) {
        return Err(cli::exit(2, format!("Unknown column \"{unknown}\".\n{USAGE}")));
    }
    chosen.sort_by_cached_key(|fmri| {
        (rank(&repo, fmri), repo.state(fmri, "state_timestamp").map(str::to_owned), fmri.clone())
    });
    chosen.dedup();
    if !has('H') {
        row(&columns, |column| column.to_uppercase());
    }
    for fmri in &chosen {
        row(&columns, |column| cell(&repo, fmri, column, columns.iter().any(|c| c.starts_with("nsta"))));
        if has('p') {
            for process in repo
                .state(fmri, "contract")
                .and_then(|id| id.parse().ok())
                .map(process::of_contract)
                .into_iter()
                .flatten()
            {
                println!("{:15}{:<8} {:>8} {}", "", started(process.start), process.pid, process.name);
            }
        }
    }
    Ok(status)
}

/// The order of states in a listing.
fn rank(repo: &Repository, fmri: &Fmri) -> usize {
    let order = ["disabled", "online", "degraded", "offline", "maintenance"];
    let state = repo.state(fmri, "state").unwrap_or_default();
    order.iter().position(|known| *known == state).map_or(0, |place| place + 1)
}

fn row(columns: &[String], cell: impl Fn(&str) -> String) {
    let mut line = String::new();
    for column in columns {
        let text = cell(column);
        let width = match column.as_str() {
            "state" | "nstate" => 14,
            "sta" | "nsta" => 4,
            "stime" => 8,
            "ctid" => 6,
            "svc" | "desc" | "scope" | "inst" => 20,
            _ => 0,
        };
        line.push_str(&match column.as_str() {
            "ctid" => format!("{text:>width$} "),
            _ => format!("{text:<width$} "),
        });
    }
    println!("{}", line.trim_end());
}

fn cell(repo: &Repository, fmri: &Fmri, column: &str, next_shown: bool) -> String {
    let get = |name: &str| repo.state(fmri, name).filter(|value| *value != "none");
    let star = if get("next_state").is_some() && !next_shown { "*" } else { "" };
    let short = |state: &str| {
        match state {
            "degraded" => "DGD",
            "disabled" => "DIS",
            "maintenance" => "MNT",
            "offline" => "OFF",
            "online" => "ON",
            "uninitialized" => "UN",
            _ => "?",
        }
        .to_owned()
    };
    match column {
        "state" => get("state").map_or_else(|| "-".into(), |state| format!("{state}{star}")),
        "sta" => format!("{}{star}", short(get("state").unwrap_or_default())),
        "nstate" => get("next_state").unwrap_or("-").to_owned(),
        "nsta" => get("next_state").map_or_else(|| "-".into(), short),
        "stime" => since(repo, fmri).map_or_else(|| "-".into(), |time| short_time(&time)),
        "ctid" => get("contract").unwrap_or("-").to_owned(),
        "svc" => fmri.service.clone(),
        "inst" => fmri.instance.clone().unwrap_or_default(),
        "scope" => "localhost".into(),
        "desc" => common_name(repo, fmri).unwrap_or_else(|| "-".into()),
        _ => fmri.to_string(),
    }
}

/// When the instance entered its state.
pub(crate) fn since(repo: &Repository, fmri: &Fmri) -> Option<Zoned> {
    let seconds = repo.state(fmri, "state_timestamp")?.split('.').next()?.parse().ok()?;
    Some(Timestamp::from_second(seconds).ok()?.to_zoned(TimeZone::system()))
}

/// A time of the last 24 hours, or a date.
fn short_time(time: &Zoned) -> String {
    let recent = Timestamp::now().as_second() - time.timestamp().as_second() < 86_400;
    time.strftime(if recent { "%H:%M:%S" } else { "%b_%d" }).to_string()
}

/// When a process was started, from its clock ticks after boot.
fn started(ticks: u64) -> String {
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    let uptime = uptime.split('.').next().and_then(|seconds| seconds.parse::<i64>().ok()).unwrap_or(0);
    // USER_HZ is 100 in every kernel interface.
    let start = Timestamp::now().as_second() - uptime + i64::try_from(ticks / 100).unwrap_or(0);
    Timestamp::from_second(start)
        .map(|time| short_time(&time.to_zoned(TimeZone::system())))
        .unwrap_or_default()
}

pub(crate) fn common_name(repo: &Repository, fmri: &Fmri) -> Option<String> {
    Some(repo.view(fmri, View::Composed).ok()?.get("tm_common_name")?.get("C")?.to_owned())
}

/// The instances that an instance depends on.
pub(crate) fn needs(repo: &Repository, fmri: &Fmri) -> Vec<Fmri> {
    let groups = depend::of(repo, fmri);
    let entities =
        groups.iter().filter_map(|(_, group)| group.properties.get("entities")).flat_map(|p| &p.values);
    entities.flat_map(|entity| instances(repo, entity)).collect()
}

fn list(repo: &Repository, fmri: &Fmri) {
    let line = |name: &str, value: &str| println!("{}", format!("{name:<12} {value}").trim_end());
    line("fmri", &fmri.to_string());
    if let Some(name) = common_name(repo, fmri) {
        line("name", &name);
    }
    let (enabled, temporary) = repo.enabled(fmri);
    line("enabled", &format!("{enabled}{}", if temporary { " (temporary)" } else { "" }));
    line("state", repo.state(fmri, "state").unwrap_or("-"));
    line("next_state", repo.state(fmri, "next_state").unwrap_or("none"));
    if let Some(time) = since(repo, fmri) {
        line("state_time", &time.strftime("%a %b %e %H:%M:%S %Y").to_string());
    }
    line("logfile", &fmri.log());
    line("restarter", RESTARTER);
    line("contract_id", repo.state(fmri, "contract").unwrap_or_default());
    let groups: BTreeMap<_, _> = depend::of(repo, fmri).into_iter().collect();
    for group in groups.values() {
        let get = |name: &str| group.get(name).unwrap_or_default();
        let mut text = format!("{}/{}", get("grouping"), get("restart_on"));
        for entity in group.properties.get("entities").map(|p| p.values.clone()).unwrap_or_default() {
            text.push_str(&format!(" {entity} ({})", depend::state(repo, &entity)));
        }
        line("dependency", &text);
    }
}
