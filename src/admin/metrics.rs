//! `/metrics`: counters and gauges for Prometheus, in its text format or as OpenMetrics, as the client accepts.
//!
//! doc/howto/monitoring.txt has a table of them, which a test compares with [`families`].

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, prometheus_text, text};
use prometheus_client::registry::Registry;

use crate::core::report::model::ServerRow;
use crate::core::report::pieces::Pieces;

use super::accept::Preference;
use super::check_metrics::{CHECK_FAMILIES, CHECK_RESULTS, CHECK_TIME, Checked};
use super::family::{Family, FamilyWriter, RowFamily, counter, gauge};
use super::server_metrics::SERVER_FAMILIES;
use super::server_source::ServerSource;
use super::serving_metrics::{
    CLIENTS_REFUSED, CONNECTION_ENDS, CONNECTION_TIME, HEADER_FAULTS, RELOADS, ServingTotals, TLS_HANDSHAKES,
};
use super::unserved_metrics::{
    QUEUE_CONNECTIONS, QUEUE_LIMIT, QUEUE_RESULTS, QUEUE_TIME, TARPIT_CONNECTIONS, TARPIT_LIMIT,
    TARPIT_RESULTS, Unserved,
};

/// The current values.
#[derive(Debug, Clone)]
pub struct Measurements {
    /// Version of pen.
    pub version: &'static str,
    /// The TLS library.
    pub tls_library: &'static str,
    /// Connections, or flows of datagrams.
    pub connections: usize,
    /// The limit of them.
    pub connections_max: usize,
    /// Clients in the affinity table.
    pub clients: usize,
    /// The limit of them.
    pub clients_max: usize,
    /// With UDP, the datagrams that were not passed on.
    pub datagrams_dropped: Option<u64>,
    /// The outcome of connections, and reloads.
    pub serving: ServingTotals,
    /// Connections without a server.
    pub unserved: Unserved,
    /// The process.
    pub process: Process,
}

/// What the system reports about the process; `None` for what it does not report.
#[derive(Debug, Clone, Default)]
pub struct Process {
    /// When it started, in seconds since 1970.
    pub start_time_seconds: f64,
    /// Processor time used, user and system.
    pub cpu_seconds: Option<f64>,
    /// Resident memory.
    pub resident_bytes: Option<u64>,
    /// Virtual memory.
    pub virtual_bytes: Option<u64>,
    /// Open descriptors.
    pub open_descriptors: Option<u64>,
    /// The limit of them.
    pub max_descriptors: Option<u64>,
}

const BUILD_INFO: Family = gauge("pen_build_info", "1, with the versions of pen and of its TLS library");
const CONNECTIONS: Family = gauge("pen_connections", "Connections, or flows of datagrams");
const CONNECTIONS_LIMIT: Family = gauge("pen_connections_limit", "Maximum concurrent connections");
const CLIENTS: Family = gauge("pen_clients", "Clients that are remembered");
const CLIENTS_LIMIT: Family = gauge("pen_clients_limit", "Maximum number of clients that are remembered");
const DATAGRAMS_DROPPED: Family = counter("pen_datagrams_dropped", "Datagrams that were not passed on");
const START_TIME: Family = gauge("process_start_time_seconds", "Start time of the process since 1970");
const CPU: Family = counter("process_cpu_seconds", "Processor time, user and system");
const RESIDENT: Family = gauge("process_resident_memory_bytes", "Resident memory");
const VIRTUAL: Family = gauge("process_virtual_memory_bytes", "Virtual memory");
const OPEN_DESCRIPTORS: Family = gauge("process_open_fds", "Open descriptors");
const MAX_DESCRIPTORS: Family = gauge("process_max_fds", "Maximum number of open descriptors");

/// The families of pen as a whole that come first.
const OVERALL: [Family; 19] = [
    BUILD_INFO,
    CONNECTIONS,
    CONNECTIONS_LIMIT,
    CLIENTS,
    CLIENTS_LIMIT,
    DATAGRAMS_DROPPED,
    CONNECTION_ENDS,
    CONNECTION_TIME,
    CLIENTS_REFUSED,
    HEADER_FAULTS,
    TLS_HANDSHAKES,
    RELOADS,
    QUEUE_CONNECTIONS,
    QUEUE_LIMIT,
    QUEUE_RESULTS,
    QUEUE_TIME,
    TARPIT_CONNECTIONS,
    TARPIT_LIMIT,
    TARPIT_RESULTS,
];

/// The families of the process.
const OF_PROCESS: [Family; 6] = [START_TIME, CPU, RESIDENT, VIRTUAL, OPEN_DESCRIPTORS, MAX_DESCRIPTORS];

/// All families.
pub fn families() -> Vec<Family> {
    let of_servers = SERVER_FAMILIES.iter().map(|(family, _)| *family);
    OVERALL.into_iter().chain(of_servers).chain([CHECK_RESULTS, CHECK_TIME]).chain(OF_PROCESS).collect()
}

/// The number of servers whose series of a family are made at a time.
const ROWS: usize = 16;

/// The metrics, made as they are read, and their content type, for a client with these `Accept` headers.
pub(super) fn pieces(
    measurements: Measurements,
    source: &Arc<impl ServerSource>,
    accepted: &str,
) -> (&'static str, Pieces) {
    let format = ExpositionFormat::for_client(accepted);
    let (of_servers, of_checks) = (Arc::clone(source), Arc::clone(source));
    let now = source.now();
    let servers = SERVER_FAMILIES.iter().flat_map(move |family| {
        let rows = of_servers.servers(ROWS);
        series(
            family,
            rows.map(move |some| some.iter().map(|one| ServerRow::new(one, now)).collect()),
            format,
        )
    });
    let checks = CHECK_FAMILIES.iter().flat_map(move |family| {
        let rows = of_checks.servers(ROWS);
        series(family, rows.map(|some| some.iter().filter_map(|one| Checked::of(one)).collect()), format)
    });
    let process = measurements.process.clone();
    let overall = std::iter::once_with(move || encoded(format, move |out| measurements.encode_overall(out)));
    let process = std::iter::once_with(move || encoded(format, move |out| process.encode(out)));
    let texts = overall.chain(servers).chain(checks).chain(process);
    match format {
        ExpositionFormat::OpenMetrics => {
            let end = std::iter::once_with(|| {
                let mut end = String::new();
                // Writing to a string cannot fail.
                _ = text::encode_eof(&mut end);
                end
            });
            (OPENMETRICS, Box::new(texts.chain(end)))
        }
        ExpositionFormat::Prometheus => (prometheus_text::CONTENT_TYPE, Box::new(texts)),
    }
}

/// The series of a family, of some rows at a time. The first of them come after the description of the family.
fn series<T: fmt::Debug + Send + Sync + 'static>(
    (family, write): &'static RowFamily<T>,
    rows: impl Iterator<Item = Vec<T>> + Send + 'static,
    format: ExpositionFormat,
) -> impl Iterator<Item = String> + Send {
    let mut is_described = false;
    rows.map(move |rows| {
        if rows.is_empty() {
            return String::new();
        }
        let text = encoded(format, move |out| {
            let mut metric = out.family(*family)?;
            rows.iter().try_for_each(|row| write(&mut metric, row))
        });
        if std::mem::replace(&mut is_described, true) { without_description(&text) } else { text }
    })
}

/// The series in a text that begins with the description of their family.
fn without_description(text: &str) -> String {
    let described = text.split_inclusive('\n').take_while(|line| line.starts_with('#'));
    let length: usize = described.map(str::len).sum();
    text.get(length..).unwrap_or_default().to_owned()
}

#[derive(Debug, Clone, Copy)]
enum ExpositionFormat {
    Prometheus,
    OpenMetrics,
}

/// The content type of OpenMetrics.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

impl ExpositionFormat {
    /// The one that a client prefers. OpenMetrics is for those that name it; who accepts anything gets what everybody reads.
    fn for_client(accepted: &str) -> Self {
        let [open, text] =
            [OPENMETRICS, prometheus_text::CONTENT_TYPE].map(|kind| Preference::of(accepted, kind));
        if open.weight > text.weight || (open.weight == text.weight && open.is_named()) {
            ExpositionFormat::OpenMetrics
        } else {
            ExpositionFormat::Prometheus
        }
    }
}

/// The text of what `write` writes.
fn encoded(
    format: ExpositionFormat,
    write: impl Fn(&mut FamilyWriter<'_>) -> fmt::Result + Send + Sync + 'static,
) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(PartCollector(write)));
    let mut out = String::new();
    // Writing to a string cannot fail.
    _ = match format {
        ExpositionFormat::OpenMetrics => text::encode_registry(&mut out, &registry),
        ExpositionFormat::Prometheus => prometheus_text::encode(&mut out, &registry),
    };
    out
}

/// What the library encodes a part of the metrics with.
struct PartCollector<F>(F);

impl<F> fmt::Debug for PartCollector<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PartCollector")
    }
}

impl<F: Fn(&mut FamilyWriter<'_>) -> fmt::Result + Send + Sync + 'static> Collector for PartCollector<F> {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0(&mut FamilyWriter(encoder))
    }
}

impl Measurements {
    fn encode_overall(&self, out: &mut FamilyWriter<'_>) -> fmt::Result {
        let build = [("version", self.version), ("tls_library", self.tls_library)];
        out.family(BUILD_INFO)?.encode_family(&build)?.encode_gauge(&1u32)?;
        out.gauge(CONNECTIONS, Some(self.connections))?;
        out.gauge(CONNECTIONS_LIMIT, Some(self.connections_max))?;
        out.gauge(CLIENTS, Some(self.clients))?;
        out.gauge(CLIENTS_LIMIT, Some(self.clients_max))?;
        out.counter(DATAGRAMS_DROPPED, self.datagrams_dropped)?;
        self.serving.encode(out)?;
        self.unserved.encode(out)
    }
}

impl Process {
    fn encode(&self, out: &mut FamilyWriter<'_>) -> fmt::Result {
        out.gauge(START_TIME, Some(self.start_time_seconds))?;
        out.counter(CPU, self.cpu_seconds)?;
        out.gauge(RESIDENT, self.resident_bytes)?;
        out.gauge(VIRTUAL, self.virtual_bytes)?;
        out.gauge(OPEN_DESCRIPTORS, self.open_descriptors)?;
        out.gauge(MAX_DESCRIPTORS, self.max_descriptors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_described_once_whatever_pieces_its_series_come_in() {
        const FAMILY: Family = gauge("pen_sample", "Rows of a test");
        static SAMPLE: RowFamily<u32> =
            (FAMILY, |metric, row| metric.encode_family(&[("row", row.to_string())])?.encode_gauge(row));
        for format in [ExpositionFormat::Prometheus, ExpositionFormat::OpenMetrics] {
            let of = |rows: &[&[u32]]| {
                let rows: Vec<_> = rows.iter().map(|rows| rows.to_vec()).collect();
                series(&SAMPLE, rows.into_iter(), format).collect::<String>()
            };
            let whole = of(&[&[1, 2, 3, 4]]);
            assert_eq!(whole.lines().filter(|line| !line.starts_with('#')).count(), 4, "{whole}");
            assert_eq!(of(&[&[], &[1], &[], &[2, 3], &[4]]), whole);
            assert_eq!(of(&[&[], &[]]), "");
        }
    }
}
