//! Runs a script on both pens, and compares what came of it with the table of what is to differ.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::support::backend::Backend;
use crate::support::{Pen, Setup, skipped};

pub(super) const C_PEN: &str = "/usr/bin/pen";
const C_PENCTL: &str = "/usr/bin/penctl";

/// What happened at each step of a script.
pub(super) type Transcript = BTreeMap<String, String>;

/// A line of the table: at this step C pen does this and ours does that.
struct Wanted {
    step: &'static str,
    c: &'static str,
    ours: &'static str,
}

/// The differences that are wanted in a group.
fn wanted(group: &str) -> Vec<Wanted> {
    let begin = format!("{group}: ");
    include_str!("wanted")
        .lines()
        .filter(|line| line.starts_with(&begin))
        .map(|line| match line.split(" | ").collect::<Vec<_>>()[..] {
            [step, c, ours, why] if !why.is_empty() => Wanted { step: &step[begin.len()..], c, ours },
            _ => panic!("not `step | C | ours | why`: {line}"),
        })
        .collect()
}

/// Runs a script on both pens and compares what they wrote down.
pub(super) fn compare(group: &str, script: impl Fn(&Side) -> Transcript) {
    if !Path::new(C_PEN).exists() {
        return skipped(group, "no C pen at /usr/bin/pen (apt-get install pen)");
    }
    let c = script(&Side { program: C_PEN, penctl: C_PENCTL });
    let ours = script(&Side { program: env!("CARGO_BIN_EXE_pen"), penctl: env!("CARGO_BIN_EXE_penctl") });
    let table = wanted(group);
    let steps: BTreeSet<&str> = c.keys().chain(ours.keys()).map(String::as_str).collect();
    let value = |side: &Transcript, step: &str| match side.get(step).map(String::as_str) {
        None => "(nothing)".into(),
        Some("") => "(empty)".into(),
        Some(text) => text.escape_debug().to_string().replace("\\\"", "\"").replace("\\'", "'"),
    };
    let mut faults = Vec::new();
    for step in &steps {
        let (c, ours) = (value(&c, step), value(&ours, step));
        match table.iter().find(|wanted| wanted.step == *step) {
            None if c == ours => {}
            // A lone `*` is anything at all, C pen's answer too.
            Some(w) if fits(w.c, &c) && fits(w.ours, &ours) && (c != ours || w.ours == "*") => {}
            _ => faults.push(format!("{group}: {step} | {c} | {ours} | ")),
        }
    }
    faults.extend(
        table
            .iter()
            .filter(|w| !steps.contains(w.step))
            .map(|w| format!("{group}: {}: no such step", w.step)),
    );
    assert!(
        faults.is_empty(),
        "{} lines are not as the table has them:\n{}",
        faults.len(),
        faults.join("\n")
    );
}

/// A `*` at the end stands for anything.
fn fits(wanted: &str, text: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(begin) => text.starts_with(begin),
        None => text == wanted,
    }
}

/// One of the two.
pub(super) struct Side {
    pub(super) program: &'static str,
    pub(super) penctl: &'static str,
}

impl Side {
    pub(super) fn setup(&self) -> Setup {
        Setup::new().program(self.program)
    }

    pub(super) fn pen(&self, options: &str, backends: &[Backend], limits: &[&str]) -> Pen {
        let operands = backends.iter().zip(limits).map(|(b, limit)| format!("{}{limit}", b.address()));
        operands.fold(self.setup().options(options), Setup::server).start()
    }
}

/// Text with names in place of what differs from run to run.
pub(super) fn steady(pen: &Pen, backends: &[Backend], text: &str) -> String {
    let mut text = text.replace(pen.operand(), "LISTEN").replace(pen.path().to_str().unwrap(), "DIR");
    for (name, backend) in ('A'..).zip(backends) {
        text = text.replace(&format!("port {}", backend.port()), &format!("port {name}"));
    }
    text.replace(&format!("{}\n", pen.pid()), "PID\n")
}

/// Sends a line to the control socket of a pen that may end by it.
pub(super) fn dare(pen: &mut Pen, line: &str) -> String {
    let reply = pen.try_control(line);
    if pen.answers() {
        return reply;
    }
    pen.wait();
    "(ends)".into()
}
