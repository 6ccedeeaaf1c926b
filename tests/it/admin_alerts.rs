//! The examples for `/metrics`: the rules for alerts fire when they should, and the dashboard for Grafana shows everything.

use std::collections::BTreeSet;
use std::fs;

use pen::admin::families;
use pen::core::report::model::ServerState;
use pen::core::settings::{AdminState, Keyword as _};
use serde_json::Value;

use crate::support::tree::{tool, top};

/// The names of metrics in a text.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("pen_") || word.starts_with("process_")).map(str::to_owned).collect()
}

#[test]
fn the_examples_use_what_there_is() {
    let there: BTreeSet<_> = families().iter().flat_map(|family| family.series()).collect();
    let rules = top().join("doc/examples/prometheus-alerts.yml");
    let dashboard = fs::read_to_string(top().join("doc/examples/grafana-dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    let targets =
        dashboard["panels"].as_array().unwrap().iter().flat_map(|p| p["targets"].as_array().unwrap());
    let queries: Vec<_> = targets.map(|target| target["expr"].as_str().unwrap()).collect();
    assert!(queries.len() > 10);
    for text in [fs::read_to_string(&rules).unwrap(), queries.join("\n")] {
        let named = named(&text);
        assert!(named.len() > 5 && named.is_subset(&there), "{:?}", named.difference(&there));
    }
    let shown = named(&queries.join("\n"));
    let unseen: Vec<_> = families()
        .iter()
        .filter(|family| !family.series().iter().any(|series| shown.contains(series)))
        .map(|family| family.name)
        .collect();
    assert_eq!(unseen, [""; 0], "the dashboard for Grafana shows every family");
    // No panel lies over another one.
    let place = |panel: &Value| ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
    let places: Vec<_> = dashboard["panels"].as_array().unwrap().iter().map(place).collect();
    for (n, [x, y, w, h]) in places.iter().enumerate() {
        for [x2, y2, w2, h2] in &places[n + 1..] {
            let apart = x + w <= *x2 || x2 + w2 <= *x || y + h <= *y2 || y2 + h2 <= *y;
            assert!(apart && x + w <= 24 && x2 + w2 <= 24, "{x},{y} and {x2},{y2}");
        }
    }
    let Some(mut promtool) = tool("promtool") else { return };
    let output = promtool.args(["check", "rules"]).arg(&rules).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// Series of samples, with their values as promtool reads them.
type Series = Vec<(String, String)>;

/// Rules about the states of servers: the series, and how many alerts fire after ten minutes.
fn state_cases() -> Vec<(&'static str, Series, usize)> {
    let lasting = |value: u32| format!("{value}x40");
    // A server that is in one state, and the administrative state beside it.
    let server = |label: &str, state: &str, admin: &str| -> Series {
        let name = |family: &str, state: &str| format!("{family}{{server=\"{label}\",state=\"{state}\"}}");
        let states = ServerState::WORDS
            .iter()
            .map(|word| (name("pen_server_state", word), lasting((*word == state).into())));
        let admin_states = AdminState::WORDS
            .iter()
            .map(|word| (name("pen_server_admin_state", word), lasting((*word == admin).into())));
        states.chain(admin_states).chain([("pen_build_info".to_owned(), lasting(1))]).collect()
    };
    let both = |one: Series, other: Series| {
        let others = other.into_iter().filter(|(name, _)| name != "pen_build_info");
        one.into_iter().chain(others).collect::<Series>()
    };
    // Without a check: out for a while, then to be tried, and out again.
    let mut alternates = server("0", "blacklisted", "ready");
    for (name, values) in &mut alternates {
        for (state, in_turn) in [("blacklisted", "1 0 "), ("retrying", "0 1 ")] {
            if name.contains(&format!("\"{state}\"")) {
                *values = in_turn.repeat(20).trim_end().to_owned();
            }
        }
    }
    let one =
        |alert, label: &str, state: &str, admin: &str, count| (alert, server(label, state, admin), count);
    vec![
        ("PenNoServer", vec![("pen_build_info".to_owned(), lasting(1))], 1),
        one("PenNoServer", "0", "up", "ready", 0),
        one("PenNoServer", "0", "unknown", "ready", 0),
        one("PenNoServer", "0", "up", "maint", 1),
        one("PenNoServer", "0", "up", "drain", 1),
        one("PenNoServer", "0", "retrying", "ready", 1),
        one("PenNoServer", "emergency", "up", "ready", 0),
        one("PenNoServer", "abuse", "up", "ready", 1),
        ("PenNoServer", both(server("0", "up", "maint"), server("1", "up", "ready")), 0),
        ("PenNoServer", both(server("0", "up", "maint"), server("1", "down", "ready")), 1),
        ("PenNoServer", alternates.clone(), 1),
        ("PenServerDown", alternates, 1),
        one("PenServerDown", "0", "up", "ready", 0),
        one("PenServerDown", "0", "down", "ready", 1),
        one("PenServerDown", "0", "retrying", "ready", 1),
        one("PenServerDown", "0", "unresolved", "ready", 1),
        one("PenServerDown", "0", "down", "maint", 0),
        ("PenServerDown", both(server("0", "up", "ready"), server("1", "blacklisted", "ready")), 1),
        ("PenServerDown", both(server("0", "down", "ready"), server("1", "down", "ready")), 2),
    ]
}

/// Each rule with series for which it has to fire after ten minutes, and others for which it must not.
#[test]
fn the_rules_for_alerts_fire_when_they_should() {
    let Some(mut promtool) = tool("promtool") else { return };
    let rules = top().join("doc/examples/prometheus-alerts.yml");
    let text = fs::read_to_string(&rules).unwrap();
    let mut tests = String::new();
    let cases = [
        ("PenDown", "up{job=\"pen\"}", "0x40", "1x40"),
        ("PenConnectsFail", "pen_server_connects_total{result=\"failure\"}", "0+9x40", "0x40"),
        ("PenConnectsSlow", "pen_server_connect_duration_seconds_bucket{le=\"+Inf\"}", "0+9x40", "0x40"),
        ("PenReloadFailed", "pen_reloads_total{result=\"failure\"}", "0x10 1x30", "1x40"),
        ("PenClientsWithoutServer", "pen_connection_ends_total{reason=\"no-server\"}", "0+1x40", "3x40"),
        ("PenQueueOverflows", "pen_queue_results_total{result=\"timeout\"}", "0+1x40", "3x40"),
        ("PenClientsLimited", "pen_clients_refused_total{reason=\"client_rate_max\"}", "0+99x40", "0+9x40"),
        ("PenChecksFindNothing", "pen_check_results_total{result=\"unknown\"}", "0+1x40", "3x40"),
        ("PenTarpitFull", "pen_tarpit_results_total{result=\"refused\"}", "0x10 1x30", "1x40"),
        ("PenDatagramsDropped", "pen_datagrams_dropped_total", "0+99x40", "0+9x40"),
        ("PenProxyHeadersFail", "pen_connection_ends_total{reason=\"proxy-failed\"}", "0+1x40", "3x40"),
        ("PenInternalErrors", "pen_connection_ends_total{reason=\"internal-error\"}", "0x10 1x30", "1x40"),
        ("PenHandshakesFail", "pen_tls_handshakes_total{result=\"failure\"}", "0+9x40", "3x40"),
        ("PenAlmostFull", "pen_connections", "95x40", "50x40"),
        ("PenAlmostOutOfDescriptors", "process_open_fds{job=\"pen\"}", "95x40", "50x40"),
    ];
    let told: Vec<_> = text.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    let states = state_cases();
    let tested = |name: &str| {
        cases.iter().any(|(case, ..)| *case == name) || states.iter().any(|(case, ..)| *case == name)
    };
    assert!(told.iter().all(|name| tested(name)), "{told:?}");
    for (alert, series, wanted) in &states {
        let series: String = series
            .iter()
            .map(|(name, values)| format!("      - {{ series: '{name}', values: '{values}' }}\n"))
            .collect();
        tests += &format!(
            "  - interval: 1m\n    input_series:\n{series}    promql_expr_test:\n\
             \x20     - expr: count(ALERTS{{alertname=\"{alert}\",alertstate=\"firing\"}}) or vector(0)\n\
             \x20       eval_time: 22m\n        exp_samples: [{{ labels: '{{}}', value: {wanted} }}]\n"
        );
    }
    for (alert, series, fires, rests) in cases {
        for (values, wanted) in [(fires, 1), (rests, 0)] {
            // The limits are 100; slow connects have no faster range.
            tests += &format!(
                "  - interval: 1m\n    input_series:\n      - {{ series: '{series}', values: '{values}' }}\n\
                 \x20     - {{ series: 'pen_connections_limit', values: '100x40' }}\n\
                 \x20     - {{ series: 'process_max_fds{{job=\"pen\"}}', values: '100x40' }}\n\
                 \x20     - {{ series: 'pen_server_connect_duration_seconds_bucket{{le=\"1\"}}', values: '0x40' }}\n\
                 \x20   promql_expr_test:\n      - expr: count(ALERTS{{alertname=\"{alert}\",alertstate=\"firing\"}}) or vector(0)\n\
                 \x20       eval_time: 22m\n        exp_samples: [{{ labels: '{{}}', value: {wanted} }}]\n"
            );
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("test.yml");
    fs::write(
        &file,
        format!("rule_files: ['{}']\nevaluation_interval: 1m\ntests:\n{tests}", rules.display()),
    )
    .unwrap();
    let output = promtool.args(["test", "rules"]).arg(&file).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}
