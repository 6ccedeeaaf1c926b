//! `/metrics`: as Prometheus and OpenMetrics have it, with the values that things have, and all of it in the documents.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};

use openssl::ssl::SslVersion;
use pen::admin::{Family, families};
use serde_json::Value;

use crate::support::backend::{Backend, Refusing};
use crate::support::http::{admin_of, ask, get};
use crate::support::pen::free_port;
use crate::support::tls::{Kind, Pair, TlsClient};
use crate::support::tree::{tool, top};
use crate::support::{Client, Pen, Setup, wait_for, wait_until};

/// The series of a text, by name and labels.
fn series(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pair = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    lines.map(pair).collect()
}

/// A pen with an echo server that has had 5 bytes each way over a connection that is still open.
fn measured(setup: Setup) -> (Pen, Backend, Client) {
    let backend = Backend::echo();
    let pen = setup.command("admin %").server(backend.address()).command("server 1 max 7").start();
    let mut client = pen.client();
    client.send("12345");
    assert_eq!(client.bytes(5), b"12345");
    wait_until("the bytes to be counted", || pen.control("servers").contains("sx 5 rx 5"));
    (pen, backend, client)
}

/// Has its server checked.
fn check(pen: &Pen) {
    pen.control("check port type tcp");
    pen.control("server 0 check port");
}

#[test]
fn values_are_what_happened() {
    let (pen, backend, _client) = measured(Setup::new());
    let answer = get(admin_of(&pen), "/metrics");
    assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let values = series(&answer.body);
    let server = format!("server=\"0\",address=\"{}\"", backend.address());
    for (name, value) in [
        ("pen_connections".into(), 1.0),
        ("pen_connections_limit".into(), 500.0),
        ("pen_clients".into(), 1.0),
        ("pen_clients_limit".into(), 2048.0),
        (format!("pen_server_connections{{{server}}}"), 1.0),
        (format!("pen_server_connections_limit{{{server}}}"), 0.0),
        (format!("pen_server_bytes_total{{{server},direction=\"sent\"}}"), 5.0),
        (format!("pen_server_bytes_total{{{server},direction=\"received\"}}"), 5.0),
        (format!("pen_server_connects_total{{{server},result=\"success\"}}"), 1.0),
        (format!("pen_server_connects_total{{{server},result=\"failure\"}}"), 0.0),
        (format!("pen_server_connect_duration_seconds_count{{{server}}}"), 1.0),
        (format!("pen_server_connect_duration_seconds_bucket{{{server},le=\"+Inf\"}}"), 1.0),
        (format!("pen_server_state{{{server},state=\"up\"}}"), 1.0),
        (format!("pen_server_state{{{server},state=\"blacklisted\"}}"), 0.0),
    ] {
        assert_eq!(values.get(&name), Some(&value), "{name}: {}", answer.body);
    }
    pen.control("server 0 blacklist 60");
    let values = series(&get(admin_of(&pen), "/metrics").body);
    assert_eq!(values[&format!("pen_server_state{{{server},state=\"up\"}}")], 0.0);
    assert_eq!(values[&format!("pen_server_state{{{server},state=\"blacklisted\"}}")], 1.0);
    for now in ["maint", "drain", "ready"] {
        pen.control(&format!("server 0 state {now}"));
        let values = series(&get(admin_of(&pen), "/metrics").body);
        for state in ["ready", "drain", "maint"] {
            let value = values[&format!("pen_server_admin_state{{{server},state=\"{state}\"}}")];
            assert_eq!(value, f64::from(state == now), "{state} while it is {now}");
        }
    }
}

#[test]
fn nothing_is_known_of_a_server_with_a_check_in_maintenance() {
    let (pen, backend, _client) = measured(Setup::new());
    check(&pen);
    assert_eq!(pen.control("wait 0 up 20"), "");
    let server = format!("server=\"0\",address=\"{}\"", backend.address());
    let is = |state: &str| {
        let values = series(&get(admin_of(&pen), "/metrics").body);
        ["up", "unknown", "down"].map(|one| values[&format!("pen_server_state{{{server},state=\"{one}\"}}")])
            == ["up", "unknown", "down"].map(|one| f64::from(one == state))
    };
    for admin_state in ["maint", "drain", "ready", "maint"] {
        pen.control(&format!("server 0 state {admin_state}"));
        let state = if admin_state == "maint" { "unknown" } else { "up" };
        wait_until(admin_state, || is(state));
    }
    let page = get(admin_of(&pen), "/").body;
    let told = "<span class=\"state maint\">maint</span>\
                <span class=\"note\">unknown, it is not checked in maintenance</span>";
    assert!(page.contains(told), "{page}");
    // One without a check counts as up, whatever an administrator says of it.
    pen.control("server 0 check none");
    assert!(is("up"));
}

#[test]
fn checks_are_counted_by_their_results() {
    let (works, refuses) = (Backend::echo(), Refusing::new());
    let setup = Setup::new().command("admin %").command("check port type tcp every 0.1 fast 0.1");
    let pen = setup.servers([&works]).server(refuses.address()).command("check_default port").start();
    let counted = |server: usize, result: &str| {
        let values = series(&get(admin_of(&pen), "/metrics").body);
        let labels = format!("server=\"{server}\",check=\"port\"");
        let results = format!("pen_check_results_total{{{labels},result=\"{result}\"}}");
        (values[&results], values[&format!("pen_check_duration_seconds_count{{{labels}}}")])
    };
    for (server, good, bad) in [(0, "success", "failure"), (1, "failure", "success")] {
        wait_until("three checks", || counted(server, good).0 >= 3.0);
        assert_eq!(counted(server, bad).0, 0.0);
        let (results, times) = counted(server, good);
        // One may have ended between the two.
        assert!((results - times).abs() <= 1.0, "{results} results, {times} times");
    }
    // Another check counts anew.
    pen.control("check other type tcp every 1000");
    pen.control("server 0 check other");
    let values = series(&get(admin_of(&pen), "/metrics").body);
    assert!(values["pen_check_results_total{server=\"0\",check=\"other\",result=\"success\"}"] <= 1.0);
}

#[test]
fn every_series_is_documented_and_there() {
    let (pen, _backend, _client) = measured(Setup::new());
    check(&pen);
    let datagrams = Setup::new().options("-U").command("admin %").start();
    let mut found = BTreeSet::new();
    for pen in [&pen, &datagrams] {
        let names = series(&get(admin_of(pen), "/metrics").body).into_keys();
        found.extend(names.map(|name| name.split('{').next().unwrap().to_owned()));
    }
    let wanted: BTreeSet<_> = families().iter().flat_map(|family| family.series()).collect();
    assert_eq!(found, wanted);
    let chapter = fs::read_to_string(top().join("doc/howto/monitoring.txt")).unwrap();
    let lines: Vec<_> = chapter.lines().collect();
    let told: BTreeMap<_, _> = lines
        .windows(2)
        .filter_map(|pair| {
            let mut words = pair[0].strip_prefix("  ")?.split_whitespace();
            let (name, kind, None) = (words.next()?, words.next()?, words.next()) else { return None };
            ["gauge", "counter", "histogram"]
                .contains(&kind)
                .then(|| (name.to_owned(), (kind, pair[1].trim())))
        })
        .collect();
    let row = |family: &Family| {
        let (name, kind) = family.documented();
        (name, (kind, family.help))
    };
    let wanted: BTreeMap<_, _> = families().iter().map(row).collect();
    assert_eq!(told, wanted, "the table of monitoring.txt");
}

/// What promtool says about metrics.
fn judged(mut promtool: Command, text: &str) -> String {
    promtool.args(["check", "metrics"]);
    promtool.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut judge = promtool.spawn().unwrap();
    judge.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = judge.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

#[test]
fn promtool_has_nothing_to_say() {
    let (pen, _backend, _client) = measured(Setup::new());
    check(&pen);
    let datagrams = Setup::new().options("-U").command("admin %").start();
    for pen in [&pen, &datagrams] {
        let Some(promtool) = tool("promtool") else { return };
        assert_eq!(judged(promtool, &get(admin_of(pen), "/metrics").body), "");
    }
}

#[test]
fn who_accepts_openmetrics_gets_it() {
    let (pen, _backend, _client) = measured(Setup::new());
    let accept = "Accept: application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
    let answer = ask(Client::to(admin_of(&pen)), &["GET /metrics HTTP/1.1", "Host: localhost", accept]);
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(answer.headers["content-type"], kind);
    assert!(answer.body.ends_with("\n# EOF\n"), "{}", answer.body);
    assert!(answer.body.contains("\n# TYPE pen_server_bytes counter\n"), "{}", answer.body);
    assert_eq!(series(&answer.body)["pen_connections"], 1.0);
    // One who names it to refuse it does not.
    let request = ["GET /metrics HTTP/1.1", "Host: localhost"];
    for accept in [
        &["Accept: application/openmetrics-text;q=0, text/plain"][..],
        &["Accept: application/openmetrics-text;version=1.0.0;q=0.2", "Accept: text/plain;q=0.3"],
        &["Accept: */*"],
        &["Accept: text/html"],
        &[],
    ] {
        let answer = ask(Client::to(admin_of(&pen)), &[&request[..], accept].concat());
        assert!(answer.headers["content-type"].starts_with("text/plain; version=0.0.4"), "{accept:?}");
        assert!(!answer.body.contains("# EOF"), "{accept:?}");
    }
}

/// A Prometheus; ends when dropped.
struct Prometheus(Child, SocketAddr);

impl Drop for Prometheus {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

impl Prometheus {
    /// What it answers to a query: the values, by their labels.
    fn query(&self, query: &str) -> Vec<(Value, f64)> {
        let answer = get(self.1, &format!("/api/v1/query?query={query}"));
        let read: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let results = read["data"]["result"].as_array().cloned().unwrap_or_default();
        let value = |result: &Value| result["value"][1].as_str().unwrap().parse().unwrap();
        results.iter().map(|result| (result["metric"].clone(), value(result))).collect()
    }
}

#[test]
fn a_prometheus_has_the_values() {
    let (pen, backend, _client) = measured(Setup::new());
    check(&pen);
    if tool("prometheus").is_none() {
        return;
    }
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let config = format!(
        "global: {{ scrape_interval: 1s, scrape_timeout: 1s }}\n\
         scrape_configs:\n  - job_name: pen\n    static_configs:\n      - targets: ['{}']\n",
        admin_of(&pen)
    );
    fs::write(pen.file("prometheus.yml"), config).unwrap();
    let child = Command::new("prometheus")
        .arg(format!("--config.file={}", pen.file("prometheus.yml")))
        .arg(format!("--storage.tsdb.path={}", pen.file("tsdb")))
        .arg(format!("--web.listen-address={address}"))
        .stdout(Stdio::null())
        .stderr(fs::File::create(pen.file("prometheus.log")).unwrap())
        .spawn()
        .unwrap();
    let mut prometheus = Prometheus(child, address);
    wait_until("prometheus to listen", || {
        let ended = prometheus.0.try_wait().unwrap();
        assert_eq!(ended, None, "{}", fs::read_to_string(pen.file("prometheus.log")).unwrap());
        std::net::TcpStream::connect(address).is_ok()
    });
    let bytes = wait_for("a scrape", || {
        Some(prometheus.query("pen_server_bytes_total")).filter(|found| found.len() == 2)
    });
    for (labels, value) in bytes {
        assert_eq!(value, 5.0, "{labels}");
        assert_eq!(
            (&labels["server"], &labels["address"]),
            (&"0".into(), &backend.address().to_string().into())
        );
    }
    // A later scrape may have been too late for Prometheus: then there is none of its values.
    let names = wait_for("the names of a scrape", || {
        let names = prometheus.query("count({__name__=~\"pen_.%2B|process_.%2B\"})by(__name__)");
        let up = prometheus.query("up");
        (up.first().is_some_and(|(_, up)| *up == 1.0) && !names.is_empty()).then_some(names)
    });
    let names: BTreeSet<_> =
        names.iter().map(|(labels, _)| labels["__name__"].as_str().unwrap().to_owned()).collect();
    let wanted = families().into_iter().flat_map(|f| f.series()).filter(|name| !name.contains("datagrams"));
    assert_eq!(names, wanted.collect());
}

#[test]
fn a_server_that_was_removed_is_no_second_series_of_its_successor() {
    let (pen, backend, mut client) = measured(Setup::new());
    for line in [
        "server 3 address 127.0.0.9 port 9",
        "no server 0",
        &format!("server 0 address 127.0.0.1 port {}", backend.port()),
    ] {
        assert_eq!(pen.control(line), "", "{line}");
    }
    let text = get(admin_of(&pen), "/metrics").body;
    let lines = text.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(series(&text).len(), lines, "{text}");
    client.send("12345");
    assert_eq!(client.bytes(5), b"12345");
}

/// The counters that are not 0 of a family with one label.
fn counted(pen: &Pen, family: &str, label: &str) -> BTreeMap<String, f64> {
    let text = get(admin_of(pen), "/metrics").body;
    let label_of = |name: &str| {
        let labels = name.strip_prefix(family)?.strip_prefix('{')?.strip_suffix('}')?;
        Some(labels.strip_prefix(&format!("{label}=\""))?.strip_suffix('"')?.to_owned())
    };
    let values = series(&text).into_iter().filter(|(_, value)| *value > 0.0);
    values.filter_map(|(name, value)| Some((label_of(&name)?, value))).collect()
}

fn counts<const N: usize>(counts: [(&str, f64); N]) -> BTreeMap<String, f64> {
    counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
}

#[test]
fn ends_refusals_and_reloads_are_counted_by_what_they_were() {
    let setup = Setup::new().command("acl 7 deny 127.0.0.66").command("client_acl 7");
    let (pen, _backend, mut client) = measured(setup);
    pen.client_from(66).end();
    pen.control("client_conn_max 1");
    pen.client().end();
    pen.control("client_conn_max 0");
    pen.control("client_rate_max 1");
    pen.control("client_rate_time 1000");
    pen.client().end();
    pen.control("client_rate_max 0");
    client.finish();
    client.end();
    let ended = counts([("client-closed", 1.0), ("denied", 1.0), ("limited", 2.0)]);
    wait_until("the end to be counted", || {
        counted(&pen, "pen_connection_ends_total", "reason").values().sum::<f64>() >= 4.0
    });
    assert_eq!(counted(&pen, "pen_connection_ends_total", "reason"), ended);
    assert_eq!(
        counted(&pen, "pen_clients_refused_total", "reason"),
        counts([("client_conn_max", 1.0), ("client_rate_max", 1.0), ("denied", 1.0)])
    );
    let values = series(&get(admin_of(&pen), "/metrics").body);
    assert_eq!(values["pen_connection_duration_seconds_count"], 1.0);
    assert_eq!(values["pen_connection_duration_seconds_bucket{le=\"+Inf\"}"], 1.0);
    assert_eq!(counted(&pen, "pen_reloads_total", "result"), counts([]));
    pen.control("reload");
    assert_eq!(counted(&pen, "pen_reloads_total", "result"), counts([("success", 1.0)]));
}

#[test]
fn a_reload_that_fails_is_counted_as_such() {
    let backend = Backend::echo();
    let setup = Setup::new();
    let file = setup.write("conf", "timeout 5\n");
    let pen = setup.option("-F", &file).command("admin %").server(backend.address()).start();
    fs::write(&file, "timeout x\n").unwrap();
    assert!(pen.control("reload").starts_with("error: "));
    assert_eq!(counted(&pen, "pen_reloads_total", "result"), counts([("failure", 1.0)]));
}

#[test]
fn handshakes_are_counted_by_version_and_result() {
    let (authority, backend) = (Pair::root("ca"), Backend::greeter("A"));
    let pen = super::tls::pen(&authority, Kind::Ec, &backend, |setup| setup.command("admin %"));
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3, SslVersion::TLS1_3] {
        assert_eq!(
            TlsClient::new(&authority).name("localhost").version(version).connect(pen.address).line(),
            "A"
        );
    }
    // What fails before there is a version: no TLS at all, nothing, a record that is not a ClientHello.
    for sent in
        [&b"GET / HTTP/1.0\r\n\r\n"[..], b"", b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", &[0x16; 40]]
    {
        let mut client = pen.client();
        client.0.write_all(sent).unwrap();
        client.finish();
        client.end();
    }
    // Of the versions that this client offers pen has none.
    let old = TlsClient::new(&authority).name("localhost").version(SslVersion::TLS1_1);
    assert!(old.try_connect(pen.address).is_err());
    // And what fails after: this client does not trust the certificate.
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let stranger = TlsClient::new(&Pair::root("other")).name("localhost").version(version);
        assert!(stranger.try_connect(pen.address).is_err());
    }
    let expected = [
        ("TLSv1.2", "success", 1.0),
        ("TLSv1.3", "success", 2.0),
        ("TLSv1", "failure", 0.0),
        ("TLSv1.1", "failure", 0.0),
        ("TLSv1.2", "failure", 1.0),
        ("TLSv1.3", "failure", 1.0),
        ("unknown", "failure", 5.0),
    ];
    let counted = || {
        let values = series(&get(admin_of(&pen), "/metrics").body);
        expected.map(|(version, result, _)| {
            let name = format!("pen_tls_handshakes_total{{version=\"{version}\",result=\"{result}\"}}");
            (version, result, values[&name])
        })
    };
    wait_until("the handshakes to be counted", || {
        counted().iter().map(|(.., count)| count).sum::<f64>() >= 10.0
    });
    assert_eq!(counted(), expected);
}

/// The series of many servers are made in pieces.
#[test]
fn many_servers_have_each_family_once() {
    let pen = Setup::new().command("admin %").start();
    pen.has_servers(100);
    for accept in ["text/plain", "application/openmetrics-text"] {
        let request = ["GET /metrics HTTP/1.1", "Host: localhost", &format!("Accept: {accept}")];
        let text = ask(Client::to(admin_of(&pen)), &request).body;
        let described: Vec<_> = text.lines().filter(|line| line.starts_with("# TYPE ")).collect();
        let once: BTreeSet<_> = described.iter().collect();
        assert_eq!(described.len(), once.len(), "{described:?}");
        let of = |name: &str| text.lines().filter(|line| line.starts_with(name)).count();
        assert_eq!(of("pen_server_state{"), 800, "{accept}");
        assert_eq!(of("pen_server_connect_duration_seconds_count{"), 100, "{accept}");
        assert_eq!(text.ends_with("# EOF\n"), accept != "text/plain", "{accept}");
        assert_eq!(series(&text).len(), text.lines().filter(|line| !line.starts_with('#')).count());
        if accept == "text/plain"
            && let Some(promtool) = tool("promtool")
        {
            assert_eq!(judged(promtool, &text), "");
        }
    }
}
