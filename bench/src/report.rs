//! The table: medians, and ratios of the same round to C pen and to HAProxy (UDP: nginx).

use std::fmt::Write;

use crate::contender::{Contender, Role};
use crate::rows::{Measured, Sample, Series};
use crate::stats::{median, ratios};

type Field = fn(&Sample) -> Option<f64>;

impl Measured {
    pub(crate) fn find(&self, role: Role) -> Option<&Series> {
        self.series.iter().find(|s| s.who.role == role && s.skipped.is_none())
    }

    /// The ratios of a field of one series to that of a role, round by round.
    pub(crate) fn against(&self, one: &Series, role: Role, field: Field) -> Vec<f64> {
        let Some(other) = self.find(role) else { return Vec::new() };
        ratios(&one.values(field), &other.values(field))
    }

    /// The row as a markdown section.
    pub(crate) fn section(&self) -> String {
        let mut columns: Vec<(String, Field, Option<Role>)> = Vec::new();
        if let Some(rate) = self.row.rate_label() {
            columns.push((rate.into(), |s| s.rate, None));
        }
        if self.series.iter().any(|s| s.values(|s| s.p99).iter().any(Option::is_some)) {
            columns.push(("p99 us".into(), |s| s.p99, None));
        }
        let cost = self.row.cost_label();
        let short = if self.row.rate_label().is_some() { "CPU" } else { "KB" };
        columns.push((cost.into(), |s| s.cost, None));
        if self.row.has_machine() {
            columns.push(("machine CPU us".into(), |s| s.machine, None));
        }
        if self.row.rate_label().is_none() {
            // Memory taken at the start does not grow, but it is used.
            columns.push(("KB each in all".into(), |s| s.all, None));
        }
        let c_pen = self.series.iter().any(|one| one.who.role == Role::CPen);
        if c_pen {
            columns.push((format!("{short} / C pen"), |s| s.cost, Some(Role::CPen)));
            if self.row.has_machine() {
                columns.push(("machine CPU / C pen".into(), |s| s.machine, Some(Role::CPen)));
            }
        }
        let rival = self.row.rival();
        // Where one grows, each is compared with the least of its kind.
        let grows = self.series.iter().any(|one| one.who.role.least().is_some());
        let name = if grows { "least".to_owned() } else { Contender::new(rival).name };
        columns.push((format!("{short} / {name}"), |s| s.cost, Some(rival)));
        if let Some(rate) = self.row.rate_label() {
            if c_pen {
                columns.push((format!("{rate} / C pen"), |s| s.rate, Some(Role::CPen)));
            }
            columns.push((format!("{rate} / {name}"), |s| s.rate, Some(rival)));
        }
        if self.find(Role::Before).is_some() {
            columns.push((format!("{short} / before"), |s| s.cost, Some(Role::Before)));
            if self.row.has_machine() {
                columns.push(("p99 / before".into(), |s| s.p99, Some(Role::Before)));
            }
            if let Some(rate) = self.row.rate_label() {
                columns.push((format!("{rate} / before"), |s| s.rate, Some(Role::Before)));
            }
        }

        let mut out = format!("## {} (`{}`)\n\n|", self.row.title, self.row.key);
        let mut rule = String::from("| --- |");
        out.push_str(" |");
        for (name, ..) in &columns {
            let _ = write!(out, " {name} |");
            rule.push_str(" ---: |");
        }
        let _ = writeln!(out, "\n{rule}");
        for one in &self.series {
            let _ = write!(out, "| {} |", one.who.name);
            if let Some(why) = &one.skipped {
                let _ = writeln!(out, " skipped: {why} |{}", " |".repeat(columns.len() - 1));
                continue;
            }
            for (_, field, base) in &columns {
                let values = match base {
                    None => one.values(*field).into_iter().flatten().collect(),
                    Some(role) => self.against(one, one.who.role.least().unwrap_or(*role), *field),
                };
                let shown = median(&values).map_or("-".into(), |v| number(v, base.is_some()));
                let _ = write!(out, " {shown} |");
            }
            out.push('\n');
        }
        for one in &self.series {
            if let Some(why) = &one.failure {
                let failed = one.rounds.iter().filter(|r| r.is_none()).count();
                let _ = writeln!(
                    out,
                    "\n{}: {failed} of {} rounds failed: {why}",
                    one.who.name,
                    one.rounds.len()
                );
            }
        }
        out
    }
}

/// Three significant digits; ratios with two decimals.
fn number(value: f64, ratio: bool) -> String {
    match value {
        v if ratio => format!("{v:.2}"),
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v if v >= 1.0 => format!("{v:.2}"),
        v => format!("{v:.3}"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_stay_short() {
        assert_eq!(super::number(12345.6, false), "12346");
        assert_eq!(super::number(21.74, false), "21.7");
        assert_eq!(super::number(0.1351, false), "0.135");
        assert_eq!(super::number(0.996, true), "1.00");
    }
}
