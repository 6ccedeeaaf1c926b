//! Metrics of each server.

use std::fmt;

use prometheus_client::encoding::{EncodeGaugeValue, MetricEncoder, NoLabelSet};

use crate::core::report::model::{ServerRow, ServerState};
use crate::core::settings::{AdminState, Keyword};

use super::family::{RowFamily, counter, encode_histogram, gauge, histogram};

/// All families of servers.
pub(super) static SERVER_FAMILIES: [RowFamily<ServerRow>; 7] = [
    (gauge("pen_server_state", "1 for the current state of the server, else 0"), |metric, row| {
        states(metric, row, ServerState::WORDS, row.state.word())
    }),
    (
        gauge("pen_server_admin_state", "1 for the administrative state of the server, else 0"),
        |metric, row| states(metric, row, AdminState::WORDS, row.admin_state.word()),
    ),
    (
        gauge("pen_server_connections", "Connections of the server, including those being made"),
        |metric, row| one_gauge(metric, row, &[], &row.connections),
    ),
    (
        gauge("pen_server_connections_limit", "Soft limit of the server's connections, 0 for no limit"),
        |metric, row| one_gauge(metric, row, &[], &row.max),
    ),
    (counter("pen_server_bytes", "Bytes sent to the server and received from it"), |metric, row| {
        one_counter(metric, row, ("direction", "sent"), row.sent_bytes)?;
        one_counter(metric, row, ("direction", "received"), row.received_bytes)
    }),
    (counter("pen_server_connects", "Connects to the server, by result"), |metric, row| {
        one_counter(metric, row, ("result", "success"), row.connects)?;
        one_counter(metric, row, ("result", "failure"), row.failures)
    }),
    (
        histogram("pen_server_connect_duration_seconds", "Duration of successful connects to the server"),
        |metric, row| {
            let read = &row.connect_times;
            let sum = (read.sum_seconds(), read.count());
            encode_histogram(metric.encode_family(&labels(row, &[]))?, sum, read.ranges())
        },
    ),
];

/// The labels that identify a server, followed by `rest`.
fn labels<'a>(row: &'a ServerRow, rest: &[(&'a str, &'a str)]) -> Vec<(&'a str, String)> {
    let named = [("server", row.label()), ("address", row.endpoint())];
    named.into_iter().chain(rest.iter().map(|(name, value)| (*name, (*value).to_owned()))).collect()
}

fn states(metric: &mut MetricEncoder<'_>, row: &ServerRow, words: &[&str], current: &str) -> fmt::Result {
    words.iter().try_for_each(|word| one_gauge(metric, row, &[("state", word)], &u32::from(*word == current)))
}

fn one_gauge(
    metric: &mut MetricEncoder<'_>,
    row: &ServerRow,
    rest: &[(&str, &str)],
    value: &impl EncodeGaugeValue,
) -> fmt::Result {
    metric.encode_family(&labels(row, rest))?.encode_gauge(value)
}

fn one_counter(
    metric: &mut MetricEncoder<'_>,
    row: &ServerRow,
    label: (&str, &str),
    count: u64,
) -> fmt::Result {
    metric.encode_family(&labels(row, &[label]))?.encode_counter::<NoLabelSet, _, u64>(&count, None)
}
