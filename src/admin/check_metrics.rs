//! Metrics of the checks of servers.

use std::fmt;
use std::sync::Arc;

use crate::core::health::CheckCounts;

use super::family::{Family, FamilyWriter, counter, encode_histogram, histogram};

/// The checks of one server.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The number of the server.
    pub server: usize,
    /// The name of the check.
    pub check: String,
    /// The results so far.
    pub counts: Arc<CheckCounts>,
}

pub(super) const CHECK_RESULTS: Family = counter("pen_check_results", "Checks of the server, by result");
pub(super) const CHECK_TIME: Family =
    histogram("pen_check_duration_seconds", "How long the checks of the server took");

pub(super) fn encode(checks: &[Checked], out: &mut FamilyWriter<'_>) -> fmt::Result {
    if checks.is_empty() {
        return Ok(());
    }
    let labels = |one: &Checked| [("server", one.server.to_string()), ("check", one.check.clone())];
    let results = checks.iter().flat_map(|one| {
        one.counts.results().map(|(result, count)| {
            let [server, check] = labels(one);
            ([server, check, ("result", result.to_owned())], count)
        })
    });
    out.counters(CHECK_RESULTS, results)?;
    let mut times = out.family(CHECK_TIME)?;
    for one in checks {
        let read = one.counts.times();
        encode_histogram(
            times.encode_family(&labels(one))?,
            (read.sum_seconds(), read.count()),
            read.ranges(),
        )?;
    }
    Ok(())
}
