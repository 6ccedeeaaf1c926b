//! `/metrics`: counters and gauges for Prometheus, in its text format or as OpenMetrics, as the client accepts.
//!
//! doc/howto/monitoring.txt has a table of them, which a test compares with [`FAMILIES`].

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeGaugeValue, EncodeLabelSet, MetricEncoder, NoLabelSet, prometheus_text, text,
};
use prometheus_client::registry::Registry;

use crate::core::report::model::{ServerRow, ServerState};
use crate::core::settings::Keyword;

use super::check_metrics::{self, CHECK_RESULTS, CHECK_TIME, Checked};
use super::family::{Family, FamilyWriter, counter, encode_histogram, gauge, histogram};
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
    /// The servers.
    pub servers: Vec<ServerRow>,
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
const SERVER_STATE: Family = gauge("pen_server_state", "1 for the current state of the server, else 0");
const SERVER_CONNECTIONS: Family =
    gauge("pen_server_connections", "Connections of the server, including those being made");
const SERVER_CONNECTIONS_LIMIT: Family =
    gauge("pen_server_connections_limit", "Soft limit of the server's connections, 0 for no limit");
const SERVER_BYTES: Family = counter("pen_server_bytes", "Bytes sent to the server and received from it");
const SERVER_CONNECTS: Family = counter("pen_server_connects", "Connects to the server, by result");
const SERVER_CONNECT_TIME: Family =
    histogram("pen_server_connect_duration_seconds", "Duration of successful connects to the server");
const START_TIME: Family = gauge("process_start_time_seconds", "Start time of the process since 1970");
const CPU: Family = counter("process_cpu_seconds", "Processor time, user and system");
const RESIDENT: Family = gauge("process_resident_memory_bytes", "Resident memory");
const VIRTUAL: Family = gauge("process_virtual_memory_bytes", "Virtual memory");
const OPEN_DESCRIPTORS: Family = gauge("process_open_fds", "Open descriptors");
const MAX_DESCRIPTORS: Family = gauge("process_max_fds", "Maximum number of open descriptors");

/// All families.
pub const FAMILIES: [Family; 33] = [
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
    SERVER_STATE,
    SERVER_CONNECTIONS,
    SERVER_CONNECTIONS_LIMIT,
    SERVER_BYTES,
    SERVER_CONNECTS,
    SERVER_CONNECT_TIME,
    CHECK_RESULTS,
    CHECK_TIME,
    START_TIME,
    CPU,
    RESIDENT,
    VIRTUAL,
    OPEN_DESCRIPTORS,
    MAX_DESCRIPTORS,
];

const OPENMETRICS: &str = "application/openmetrics-text";

/// The metrics and their content type, for a client whose `Accept` header says `accepted`.
pub(super) fn encode(measurements: Measurements, accepted: &str) -> (&'static str, String) {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(measurements));
    let mut out = String::new();
    // Writing to a string cannot fail.
    if accepted.contains(OPENMETRICS) {
        _ = text::encode(&mut out, &registry);
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", out)
    } else {
        _ = prometheus_text::encode(&mut out, &registry);
        ("text/plain; version=0.0.4; charset=utf-8", out)
    }
}

/// The labels that identify a server, followed by `rest`.
fn labels<'a>(row: &'a ServerRow, rest: &[(&'a str, &'a str)]) -> Vec<(&'a str, String)> {
    let named = [("server", row.label()), ("address", row.endpoint())];
    named.into_iter().chain(rest.iter().map(|(name, value)| (*name, (*value).to_owned()))).collect()
}

fn series(
    metric: &mut MetricEncoder<'_>,
    labels: &impl EncodeLabelSet,
    value: &impl EncodeGaugeValue,
) -> fmt::Result {
    metric.encode_family(labels)?.encode_gauge(value)
}

impl Collector for Measurements {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = FamilyWriter(encoder);
        let build = [("version", self.version), ("tls_library", self.tls_library)];
        series(&mut out.family(BUILD_INFO)?, &build, &1u32)?;
        out.gauge(CONNECTIONS, Some(self.connections))?;
        out.gauge(CONNECTIONS_LIMIT, Some(self.connections_max))?;
        out.gauge(CLIENTS, Some(self.clients))?;
        out.gauge(CLIENTS_LIMIT, Some(self.clients_max))?;
        out.counter(DATAGRAMS_DROPPED, self.datagrams_dropped)?;
        self.serving.encode(&mut out)?;
        self.unserved.encode(&mut out)?;
        self.encode_servers(&mut out)?;
        check_metrics::encode(&self.checks, &mut out)?;
        let process = &self.process;
        out.gauge(START_TIME, Some(process.start_time_seconds))?;
        out.counter(CPU, process.cpu_seconds)?;
        out.gauge(RESIDENT, process.resident_bytes)?;
        out.gauge(VIRTUAL, process.virtual_bytes)?;
        out.gauge(OPEN_DESCRIPTORS, process.open_descriptors)?;
        out.gauge(MAX_DESCRIPTORS, process.max_descriptors)
    }
}

impl Measurements {
    fn encode_servers(&self, out: &mut FamilyWriter<'_>) -> fmt::Result {
        if self.servers.is_empty() {
            return Ok(());
        }
        let mut states = out.family(SERVER_STATE)?;
        for row in &self.servers {
            for state in ServerState::WORDS {
                let labels = labels(row, &[("state", state)]);
                series(&mut states, &labels, &u32::from(row.state.word() == *state))?;
            }
        }
        let mut connections = out.family(SERVER_CONNECTIONS)?;
        for row in &self.servers {
            series(&mut connections, &labels(row, &[]), &row.connections)?;
        }
        let mut limits = out.family(SERVER_CONNECTIONS_LIMIT)?;
        for row in &self.servers {
            series(&mut limits, &labels(row, &[]), &row.max)?;
        }
        let mut bytes = out.family(SERVER_BYTES)?;
        for row in &self.servers {
            for (direction, count) in [("sent", row.sent_bytes), ("received", row.received_bytes)] {
                let labels = labels(row, &[("direction", direction)]);
                bytes.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
            }
        }
        let mut connects = out.family(SERVER_CONNECTS)?;
        for row in &self.servers {
            for (result, count) in [("success", row.connects), ("failure", row.failures)] {
                let labels = labels(row, &[("result", result)]);
                connects.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
            }
        }
        let mut times = out.family(SERVER_CONNECT_TIME)?;
        for row in &self.servers {
            let read = &row.connect_times;
            let sum = (read.sum_seconds(), read.count());
            encode_histogram(times.encode_family(&labels(row, &[]))?, sum, read.ranges())?;
        }
        Ok(())
    }
}
