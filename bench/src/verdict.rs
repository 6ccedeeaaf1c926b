//! The required bounds, and whether they are met. A bound that is within the noise is reported as open.

use crate::contender::{Contender, Role};
use crate::load::Work;
use crate::rows::{CHECKED, Measured, SCALE, Sample, Series};
use crate::stats::{median, noise};
use Bound::{Cap, Floor};

/// On a small machine, CPU ratios are accurate to about 10 %, rates to 20 %: greater noise excuses nothing.
const COST_TRUST: f64 = 0.10;
const RATE_TRUST: f64 = 0.20;
/// The minimum noise that is assumed.
const LEAST_NOISE: f64 = 0.03;
/// The noise that is assumed when too little was measured.
const UNKNOWN_NOISE: f64 = 1.0;
/// The allowed memory of an idle connection, without and with TLS, in KB.
const IDLE_KB: f64 = 1.0;
const TLS_IDLE_KB: f64 = 10.0;

/// What a connection may cost with the most servers or connections, in terms of that with the fewest.
const GROWTH: f64 = 1.15;

/// The other contenders that support TLS.
const RIVALS: [Role; 4] = [Role::HaProxy, Role::Nginx, Role::Hitch, Role::CPen];

/// One line per bound.
pub(crate) fn lines(all: &[Measured]) -> Vec<String> {
    all.iter().flat_map(row).collect()
}

fn row(row: &Measured) -> Vec<String> {
    let key = row.row.key;
    let Some(ours) = row.find(Role::Ours) else { return vec![format!("{key}: not measured")] };
    let cost = Scale::new(row, ours, |s| s.cost, COST_TRUST);
    let rate = Scale::new(row, ours, |s| s.rate, RATE_TRUST);
    let mut lines = Vec::new();
    if let Some(queried) = row.row.queried() {
        let p99 = Scale::new(row, ours, |s| s.p99, RATE_TRUST);
        let watched = row.find(queried).map(|one| row.against(one, Role::Crowded, |s| s.p99));
        let ratio = watched.and_then(|ratios| median(&ratios));
        let text = "p99 while it is asked at most 1.2 times that without";
        return vec![format!("{key}: {}", p99.line(text, ratio, Cap(1.2), Rule::Level))];
    }
    if CHECKED.contains(&key) {
        let checked = row.find(Role::Checked).map(|one| row.against(one, Role::Ours, |s| s.cost));
        let ratio = checked.and_then(|ratios| median(&ratios));
        let text = "CPU with 20 servers checked and all limits level with that of one server without";
        return vec![format!("{key}: {}", cost.line(text, ratio, Cap(1.0), Rule::Level))];
    }
    if SCALE.contains(&key) {
        let measured = || row.series.iter().filter(|one| one.skipped.is_none());
        let is_most = |one: &&Series| measured().all(|other| !other.who.role.exceeds(one.who.role));
        let line = |one: &Series| {
            let least = one.who.role.least()?;
            let ratio = median(&row.against(one, least, |s| s.cost));
            let (most, least) = (&one.who.name, Contender::new(least).name);
            let text = format!("CPU of {most} at most {GROWTH} of that of {least}");
            Some(format!("{key}: {}", cost.line(&text, ratio, Cap(GROWTH), Rule::Level)))
        };
        let lines: Vec<String> = measured().filter(is_most).filter_map(line).collect();
        return if lines.is_empty() { vec![format!("{key}: not measured")] } else { lines };
    }
    match (row.row.work, row.row.tls.or(row.row.server_tls)) {
        (Work::Idle, tls) => {
            let most = if tls.is_some() { TLS_IDLE_KB } else { IDLE_KB };
            let each: Vec<f64> = ours.values(|s| s.cost).into_iter().flatten().collect();
            let each = median(&each).unwrap_or(0.0);
            let verdict = word(each <= most);
            lines.push(format!("at most {most} KB a connection: {verdict} ({each:.2} KB)"));
        }
        (_, Some(_)) => {
            let costs = RIVALS.into_iter().filter_map(|role| cost.to(role)).reduce(f64::max);
            lines.push(cost.line("CPU level with the best of the others", costs, Cap(1.0), Rule::Level));
            let rates = RIVALS.into_iter().filter_map(|role| rate.to(role)).reduce(f64::min);
            lines.push(rate.line("rate level with the best of the others", rates, Floor(1.0), Rule::Level));
        }
        (work, None) if work.is_udp() => {
            lines.push(cost.line("CPU level with C pen's", cost.to(Role::CPen), Cap(1.0), Rule::Level));
            lines.push(cost.line("CPU level with nginx's", cost.to(Role::Nginx), Cap(1.0), Rule::Level));
        }
        (work, None) => {
            lines.push(cost.line("CPU level with C pen's", cost.to(Role::CPen), Cap(1.0), Rule::Level));
            lines.push(cost.line("CPU below HAProxy's", cost.to(Role::HaProxy), Cap(1.0), Rule::Strict));
            if work == Work::Bulk {
                let splice = Role::HaProxySplice;
                let text = "GB/s at least twice HAProxy's forced splice";
                // Client, server and proxy share the processors: no proxy can move more than is possible without one.
                let direct = row.find(Role::Direct).map(|d| row.against(d, splice, |s| s.rate));
                let most = direct.and_then(|ratios| median(&ratios)).unwrap_or(0.0);
                let line = rate.line(text, rate.to(splice), Floor(2.0), Rule::Strict);
                lines.push(format!("{line}; without any proxy {most:.2}"));
                let text = "CPU at most half of HAProxy's forced splice";
                lines.push(cost.line(text, cost.to(splice), Cap(0.5), Rule::Strict));
            }
        }
    }
    lines.extend(promised(key, &cost, &rate.with(|s| s.machine)));
    if let Some(costs) = cost.to(Role::Before) {
        lines.push(cost.line("cost level with the build before", Some(costs), Cap(1.0), Rule::Level));
    }
    lines.iter().map(|line| format!("{key}: {line}")).collect()
}

/// The bounds of rows that were promised for filling one worker before the next and for making system calls together, of
/// CPU time beside C pen's.
const PROMISED: [(&str, f64); 5] =
    [("keep", 0.80), ("keep50", 0.78), ("short", 0.92), ("udp", 0.72), ("udp-new", 0.55)];
/// The same for the CPU time of the whole machine.
const MACHINE: [(&str, f64); 2] = [("keep", 0.90), ("udp", 0.85)];

fn promised(key: &str, cost: &Scale<'_>, machine: &Scale<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    let bound = |of: &[(&str, f64)]| of.iter().find(|(row, _)| *row == key).map(|(_, most)| *most);
    if let Some(most) = bound(&PROMISED) {
        let text = format!("CPU at most {most:.2} of C pen's");
        lines.push(cost.line(&text, cost.to(Role::CPen), Cap(most), Rule::Strict));
    }
    if let Some(most) = bound(&MACHINE) {
        let text = format!("CPU of the machine at most {most:.2} of that with C pen");
        lines.push(machine.line(&text, machine.to(Role::CPen), Cap(most), Rule::Strict));
    }
    lines
}

/// Whether a bound is met, in a word.
pub(crate) fn word(met: bool) -> &'static str {
    if met { "met" } else { "NOT MET" }
}

/// The verdict on a ratio that was measured apart from the rows.
pub(crate) fn at_least(what: &str, ratio: f64, bound: f64) -> String {
    let verdict = word(ratio >= bound);
    format!("{what} at least {bound} times C's: {verdict} (ratio {ratio:.1})")
}

/// The direction of a bound.
enum Bound {
    Cap(f64),
    Floor(f64),
}

/// One measure of a row, with its noise.
struct Scale<'a> {
    row: &'a Measured,
    ours: &'a Series,
    field: fn(&Sample) -> Option<f64>,
    noise: f64,
    trust: f64,
}

impl<'a> Scale<'a> {
    fn new(row: &'a Measured, ours: &'a Series, field: fn(&Sample) -> Option<f64>, trust: f64) -> Self {
        let control = row.find(Role::Control).map(|c| row.against(c, Role::Ours, field)).unwrap_or_default();
        let noise = noise(&control).unwrap_or(UNKNOWN_NOISE).max(LEAST_NOISE);
        Scale { row, ours, field, noise, trust }
    }

    /// The same of another measure.
    fn with(&self, field: fn(&Sample) -> Option<f64>) -> Self {
        Scale::new(self.row, self.ours, field, self.trust)
    }

    /// The ratio of ours to theirs.
    fn to(&self, role: Role) -> Option<f64> {
        median(&self.row.against(self.ours, role, self.field))
    }

    fn line(&self, what: &str, ratio: Option<f64>, bound: Bound, rule: Rule) -> String {
        let Some(ratio) = ratio else { return format!("{what}: not measured") };
        let normal = match bound {
            Cap(most) => ratio / most,
            Floor(least) => least / ratio,
        };
        let verdict = judge(normal, rule, self.noise, self.trust);
        format!("{what}: {verdict} (ratio {ratio:.2}, noise {:.0} %)", self.noise * 100.0)
    }
}

/// Whether a bound applies with the noise as tolerance, or strictly.
#[derive(Clone, Copy)]
enum Rule {
    Level,
    Strict,
}

/// Judges a ratio that is good at 1 and below. If the noise exceeds `trust`, only differences greater than it count.
fn judge(ratio: f64, rule: Rule, noise: f64, trust: f64) -> &'static str {
    let over = ratio - 1.0;
    match rule {
        _ if noise > trust && over.abs() <= noise => "open, too noisy",
        Rule::Level if over <= noise => "met",
        Rule::Strict if over < 0.0 => "met",
        Rule::Strict if over <= noise => "open, within noise",
        _ => "NOT MET",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trusted_noise_helps_a_level_bound_alone() {
        assert_eq!(judge(1.04, Rule::Level, 0.05, 0.1), "met");
        assert_eq!(judge(1.15, Rule::Level, 0.05, 0.1), "NOT MET");
        assert_eq!(judge(0.99, Rule::Strict, 0.05, 0.1), "met");
        assert_eq!(judge(1.01, Rule::Strict, 0.05, 0.1), "open, within noise");
        assert_eq!(judge(1.10, Rule::Strict, 0.05, 0.1), "NOT MET");
    }

    #[test]
    fn great_noise_settles_great_differences_alone() {
        assert_eq!(judge(0.95, Rule::Level, 0.3, 0.1), "open, too noisy");
        assert_eq!(judge(1.15, Rule::Strict, 0.3, 0.1), "open, too noisy");
        assert_eq!(judge(0.5, Rule::Strict, 0.3, 0.1), "met");
        assert_eq!(judge(1.5, Rule::Level, 0.3, 0.1), "NOT MET");
    }
}
