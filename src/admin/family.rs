//! Families of metrics, and how they are written.

use std::fmt;

use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabelSet, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;

/// A family of metrics: all series with one name.
#[derive(Debug, Clone, Copy)]
pub struct Family {
    /// Its name; for a counter, the series have `_total` appended.
    pub name: &'static str,
    /// Its description, without a full stop.
    pub help: &'static str,
    /// The type of its values.
    pub kind: MetricType,
}

/// A family, and what writes its series of one row.
pub(super) type RowFamily<T> = (Family, fn(&mut MetricEncoder<'_>, &T) -> fmt::Result);

pub(super) const fn gauge(name: &'static str, help: &'static str) -> Family {
    Family { name, help, kind: MetricType::Gauge }
}

pub(super) const fn counter(name: &'static str, help: &'static str) -> Family {
    Family { name, help, kind: MetricType::Counter }
}

pub(super) const fn histogram(name: &'static str, help: &'static str) -> Family {
    Family { name, help, kind: MetricType::Histogram }
}

impl Family {
    /// The names of its series.
    pub fn series(&self) -> Vec<String> {
        let ends: &[&str] = match self.kind {
            MetricType::Counter => &["_total"],
            MetricType::Histogram => &["_bucket", "_sum", "_count"],
            _ => &[""],
        };
        ends.iter().map(|end| format!("{}{end}", self.name)).collect()
    }

    /// Its name in the documents, and the type of its values.
    pub fn documented(&self) -> (String, &'static str) {
        match self.kind {
            MetricType::Counter => (format!("{}_total", self.name), "counter"),
            MetricType::Histogram => (self.name.to_owned(), "histogram"),
            _ => (self.name.to_owned(), "gauge"),
        }
    }
}

/// Writes families in order.
pub(super) struct FamilyWriter<'a>(pub(super) DescriptorEncoder<'a>);

impl FamilyWriter<'_> {
    pub(super) fn family(&mut self, family: Family) -> Result<MetricEncoder<'_>, fmt::Error> {
        self.0.encode_descriptor(family.name, family.help, None, family.kind)
    }

    pub(super) fn gauge(&mut self, family: Family, value: Option<impl EncodeGaugeValue>) -> fmt::Result {
        match value {
            Some(value) => self.family(family)?.encode_gauge(&value),
            None => Ok(()),
        }
    }

    pub(super) fn counter(&mut self, family: Family, value: Option<impl EncodeCounterValue>) -> fmt::Result {
        match value {
            Some(value) => self.family(family)?.encode_counter::<NoLabelSet, _, u64>(&value, None),
            None => Ok(()),
        }
    }

    /// A family with one counter for each set of labels.
    pub(super) fn counters<L: EncodeLabelSet>(
        &mut self,
        family: Family,
        values: impl Iterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut counters = self.family(family)?;
        for (labels, count) in values {
            counters.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
        Ok(())
    }
}

/// Writes a histogram: its sum and count and, for each range, the upper end and the count.
pub(super) fn encode_histogram(
    mut metric: MetricEncoder<'_>,
    (sum, count): (f64, u64),
    ranges: impl Iterator<Item = (f64, u64)>,
) -> fmt::Result {
    // The library writes the largest number as +Inf.
    let finite = |end: f64| if end.is_finite() { end } else { f64::MAX };
    let ranges: Vec<(f64, u64)> = ranges.map(|(end, count)| (finite(end), count)).collect();
    metric.encode_histogram::<NoLabelSet>(sum, count, &ranges, None)
}
