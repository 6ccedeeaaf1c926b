//! What was asked for, and whether it was met. A bound that the noise could decide is said to be open.

use crate::contender::Role;
use crate::load::Work;
use crate::rows::{Measured, Sample};
use crate::stats::{median, noise};

/// CPU ratios are good to about 10 % on a small machine, rates to 20 %: more noise than that excuses nothing.
const COST_TRUST: f64 = 0.10;
const RATE_TRUST: f64 = 0.20;
/// Noise is never taken to be less than this.
const FLOOR: f64 = 0.03;
/// Memory an idle connection may hold, KB.
const IDLE_KB: f64 = 3.0;

/// A line a bound.
pub(crate) fn lines(all: &[Measured]) -> Vec<String> {
    all.iter().flat_map(row).collect()
}

fn row(row: &Measured) -> Vec<String> {
    let mut lines = Vec::new();
    let Some(ours) = row.find(Role::Ours) else {
        return vec![format!("{}: not measured", row.row.key)];
    };
    let noisy = |field: fn(&Sample) -> Option<f64>| {
        let control = row.find(Role::Control).map(|c| row.against(c, Role::Ours, field)).unwrap_or_default();
        noise(&control).unwrap_or(FLOOR).max(FLOOR)
    };
    let cost: fn(&Sample) -> Option<f64> = |s| s.cost;
    let rate: fn(&Sample) -> Option<f64> = |s| s.rate;
    let ratio = |role, field| median(&row.against(ours, role, field));
    let key = row.row.key;
    let (cost_noise, rate_noise) = (noisy(cost), noisy(rate));
    let mut say = |what: &str, ratio: Option<f64>, verdict: &dyn Fn(f64) -> &'static str, noise: f64| {
        lines.push(match ratio {
            Some(r) => format!("{key}: {what}: {} ({r:.2}, noise {:.0} %)", verdict(r), noise * 100.0),
            None => format!("{key}: {what}: not measured"),
        });
    };
    let level = |r: f64| at_most(r, cost_noise);

    if row.row.tls.is_none() {
        if row.row.work != Work::Idle {
            say("CPU level with C pen", ratio(Role::CPen, cost), &level, cost_noise);
            say("CPU below HAProxy's", ratio(Role::HaProxy, cost), &|r| below(r, cost_noise), cost_noise);
        }
        if row.row.work == Work::Bulk {
            let twice = |r: f64| at_least(r, 2.0, rate_noise);
            say(
                "GB/s at least twice HAProxy's forced splice",
                ratio(Role::HaProxySplice, rate),
                &twice,
                rate_noise,
            );
            let half = |r: f64| at_least(1.0 / r, 2.0, cost_noise);
            say(
                "CPU at most half of HAProxy's forced splice",
                ratio(Role::HaProxySplice, cost),
                &half,
                cost_noise,
            );
        }
    } else if row.row.work != Work::Idle {
        let rivals = [Role::HaProxy, Role::Nginx, Role::Hitch, Role::CPen];
        let worst = rivals.into_iter().filter_map(|role| ratio(role, cost)).reduce(f64::max);
        say("CPU level with the best of the others", worst, &level, cost_noise);
        let worst = rivals.into_iter().filter_map(|role| ratio(role, rate)).reduce(f64::min);
        let level = |r: f64| at_most(1.0 / r, rate_noise.min(RATE_TRUST));
        say("rate level with the best of the others", worst, &level, rate_noise);
    }
    if row.row.work == Work::Idle && row.row.tls.is_none() {
        let each: Vec<f64> = ours.values(cost).into_iter().flatten().collect();
        let each = median(&each).unwrap_or(0.0);
        let verdict = if each <= IDLE_KB { "met" } else { "NOT MET" };
        lines.push(format!("{key}: at most {IDLE_KB} KB a connection: {verdict} ({each:.2} KB)"));
    }
    lines
}

/// Level: no more than 1, give or take trusted noise.
fn at_most(ratio: f64, noise: f64) -> &'static str {
    match ratio {
        r if r <= 1.0 + noise.min(COST_TRUST) => "met",
        r if r <= 1.0 + noise => "open, too noisy",
        _ => "NOT MET",
    }
}

fn below(ratio: f64, noise: f64) -> &'static str {
    match ratio {
        r if r < 1.0 => "met",
        r if r <= 1.0 + noise => "open, within noise",
        _ => "NOT MET",
    }
}

fn at_least(ratio: f64, bound: f64, noise: f64) -> &'static str {
    match ratio {
        r if r >= bound => "met",
        r if r >= bound * (1.0 - noise) => "open, within noise",
        _ => "NOT MET",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds() {
        assert_eq!(at_most(1.04, 0.05), "met");
        assert_eq!(at_most(1.15, 0.2), "open, too noisy");
        assert_eq!(at_most(1.15, 0.05), "NOT MET");
        assert_eq!(below(0.99, 0.05), "met");
        assert_eq!(below(1.01, 0.05), "open, within noise");
        assert_eq!(at_least(2.1, 2.0, 0.1), "met");
        assert_eq!(at_least(1.9, 2.0, 0.1), "open, within noise");
        assert_eq!(at_least(1.5, 2.0, 0.1), "NOT MET");
    }
}
