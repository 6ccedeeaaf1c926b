//! Metrics of the checks of servers.

use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::{MetricEncoder, NoLabelSet};

use crate::core::health::CheckCounts;

use super::family::{Family, counter, encode_histogram, histogram};

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

/// A family, and what writes its series of one check.
pub(super) type CheckFamily = (Family, fn(&mut MetricEncoder<'_>, &Checked) -> fmt::Result);

/// Both families.
pub(super) const CHECK_FAMILIES: [CheckFamily; 2] = [
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
