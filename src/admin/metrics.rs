//! `/metrics`: counters and gauges for Prometheus, in its text format or as OpenMetrics, as the client accepts.
//!
//! doc/howto/monitoring.txt has a table of them, which a test compares with [`families`].

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, prometheus_text, text};
use prometheus_client::registry::Registry;

use crate::core::Millis;
use crate::core::report::model::ServerRow;
use crate::core::report::pieces::Pieces;
use crate::core::snapshot::Backend;

use super::accept::Preference;
use super::check_metrics::{CHECK_FAMILIES, CHECK_RESULTS, CHECK_TIME, Checked};
use super::family::{Family, FamilyWriter, counter, gauge};
use super::server_metrics::SERVER_FAMILIES;
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
    /// The servers, whose values are read when their series are made.
    pub servers: Vec<Arc<Backend>>,
    /// The time of pen's clock.
    pub now: Millis,
    /// The outcome of connections, and reloads.
    pub serving: ServingTotals,
    /// Connections without a server.
    pub unserved: Unserved,
    /// The checks of the servers.
    pub checks: Vec<Checked>,
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

/// The number of servers, or of their checks, whose series of a family are made at a time.
const ROWS: usize = 16;

/// The metrics, made as they are read, and their content type, for a client with these `Accept` headers.
pub(super) fn pieces(measurements: Measurements, accepted: &str) -> (&'static str, Pieces) {
    let format = ExpositionFormat::for_client(accepted);
    let (servers, checks) = (measurements.servers.len(), measurements.checks.len());
    let of_servers = (0..SERVER_FAMILIES.len())
        .flat_map(move |family| runs(servers).map(move |run| MetricsPart::Servers(family, run)));
    let of_checks = (0..CHECK_FAMILIES.len())
        .flat_map(move |family| runs(checks).map(move |run| MetricsPart::Checks(family, run)));
    let parts =
        [MetricsPart::Overall].into_iter().chain(of_servers).chain(of_checks).chain([MetricsPart::Process]);
    let measurements = Arc::new(measurements);
    let texts = parts.map(move |part| text(&measurements, part, format));
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

/// The numbers up to `count`, in runs of at most [`ROWS`].
fn runs(count: usize) -> impl Iterator<Item = Range<usize>> {
    (0..count).step_by(ROWS).map(move |begin| begin..count.min(begin + ROWS))
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

/// A part of the metrics.
#[derive(Debug, Clone)]
enum MetricsPart {
    /// What comes first, about pen as a whole.
    Overall,
    /// The series of some servers, of a family with that number.
    Servers(usize, Range<usize>),
    /// The series of some checks.
    Checks(usize, Range<usize>),
    /// What comes last, about the process.
    Process,
}

impl MetricsPart {
    /// Whether it goes on with a family that another part has begun.
    fn goes_on(&self) -> bool {
        matches!(self, MetricsPart::Servers(_, run) | MetricsPart::Checks(_, run) if run.start > 0)
    }
}

/// The text of a part.
fn text(measurements: &Arc<Measurements>, part: MetricsPart, format: ExpositionFormat) -> String {
    let goes_on = part.goes_on();
    let mut registry = Registry::default();
    registry.register_collector(Box::new(PartCollector { measurements: Arc::clone(measurements), part }));
    let mut out = String::new();
    // Writing to a string cannot fail.
    _ = match format {
        ExpositionFormat::OpenMetrics => text::encode_registry(&mut out, &registry),
        ExpositionFormat::Prometheus => prometheus_text::encode(&mut out, &registry),
    };
    if goes_on {
        // The family has its description already.
        let described = out.split_inclusive('\n').take_while(|line| line.starts_with('#'));
        let length: usize = described.map(str::len).sum();
        out.drain(..length);
    }
    out
}

/// What the library encodes a part with.
#[derive(Debug)]
struct PartCollector {
    measurements: Arc<Measurements>,
    part: MetricsPart,
}

impl Collector for PartCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = FamilyWriter(encoder);
        let measurements = &self.measurements;
        match &self.part {
            MetricsPart::Overall => measurements.encode_overall(&mut out),
            MetricsPart::Servers(family, run) => {
                let Some((family, write)) = SERVER_FAMILIES.get(*family) else { return Ok(()) };
                let mut metric = out.family(*family)?;
                let servers = measurements.servers.get(run.clone()).unwrap_or_default();
                servers
                    .iter()
                    .try_for_each(|server| write(&mut metric, &ServerRow::new(server, measurements.now)))
            }
            MetricsPart::Checks(family, run) => {
                let Some((family, write)) = CHECK_FAMILIES.get(*family) else { return Ok(()) };
                let mut metric = out.family(*family)?;
                let checks = measurements.checks.get(run.clone()).unwrap_or_default();
                checks.iter().try_for_each(|check| write(&mut metric, check))
            }
            MetricsPart::Process => measurements.process.encode(&mut out),
        }
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
    fn runs_are_the_whole_without_gaps() {
        for count in [0, 1, ROWS, ROWS + 1, 3 * ROWS] {
            let all: Vec<usize> = runs(count).flatten().collect();
            assert_eq!(all, (0..count).collect::<Vec<_>>());
            assert!(runs(count).all(|run| run.len() <= ROWS));
        }
    }
}
