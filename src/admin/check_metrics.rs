//! Metrics of the checks of servers.

use std::sync::Arc;

use prometheus_client::encoding::NoLabelSet;

use crate::core::health::CheckCounts;
use crate::core::snapshot::Backend;

use super::family::{Family, RowFamily, counter, encode_histogram, histogram};

/// The checks of one server.
#[derive(Debug, Clone)]
pub(super) struct Checked {
    /// The number of the server.
    server: usize,
    /// The name of the check.
    check: String,
    /// The results so far.
    counts: Arc<CheckCounts>,
}

impl Checked {
    /// Those of `backend`, if it is a server with a number that is checked.
    pub(super) fn of(backend: &Backend) -> Option<Self> {
        let check = backend.check.as_ref()?.name.clone();
        Some(Checked { server: backend.role.slot()?, check, counts: backend.stats.check_counts() })
    }
}

pub(super) const CHECK_RESULTS: Family = counter("pen_check_results", "Checks of the server, by result");
pub(super) const CHECK_TIME: Family =
    histogram("pen_check_duration_seconds", "How long the checks of the server took");

/// Both families.
pub(super) static CHECK_FAMILIES: [RowFamily<Checked>; 2] = [
    (CHECK_RESULTS, |metric, one| {
        one.counts.results().into_iter().try_for_each(|(result, count)| {
            let [server, check] = labels(one);
            let labels = [server, check, ("result", result.to_owned())];
            metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)
        })
    }),
    (CHECK_TIME, |metric, one| {
        let read = one.counts.times();
        let sum = (read.sum_seconds(), read.count());
        encode_histogram(metric.encode_family(&labels(one))?, sum, read.ranges())
    }),
];

fn labels(one: &Checked) -> [(&'static str, String); 2] {
    [("server", one.server.to_string()), ("check", one.check.clone())]
}
