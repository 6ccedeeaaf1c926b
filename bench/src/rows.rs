//! The rows of the report, and the conversion of a round into a rate and a cost.

use std::time::Duration;

use crate::contender::{Contender, IDLE, RULES, Role, SERVERS, Setup};
use crate::load::{Outcome, Task, Tls, Work};
use crate::process::{self, Running};

/// One kind of load.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) key: &'static str,
    pub(crate) title: &'static str,
    pub(crate) work: Work,
    pub(crate) conns: usize,
    /// Whether clients use TLS, and whether they resume sessions.
    pub(crate) tls: Option<bool>,
    /// Whether the contender uses TLS with its server, and whether it can resume sessions.
    pub(crate) server_tls: Option<bool>,
}

const fn row(key: &'static str, title: &'static str, work: Work, conns: usize, tls: Option<bool>) -> Row {
    Row { key, title, work, conns, tls, server_tls: None }
}

/// TLS towards the server, for clients without.
const fn to_server(key: &'static str, title: &'static str, work: Work, conns: usize, resume: bool) -> Row {
    Row { key, title, work, conns, tls: None, server_tls: Some(resume) }
}

/// The row that measures the effect of replies on the data path.
pub(crate) const WATCHED: &str = "watched";

/// The same for answers of the admin listener.
pub(crate) const ASKED: &str = "asked";

/// The rows that measure the effect of checks and limits on the data path.
pub(crate) const CHECKED: [&str; 2] = ["keep-checked", "short-checked"];

/// The rows in which every contender has a single worker or thread.
pub(crate) const ALONE: [&str; 3] = ["keep1", "keep4", "keep50"];

/// The rows that measure what many servers and many connections cost.
pub(crate) const SCALE: [&str; 2] = ["scale-servers", "scale-connections"];

/// All rows, in the order of the report.
pub(crate) const ROWS: [Row; 26] = [
    row("keep", "Keep-alive requests, 64 connections", Work::Keep, 64, None),
    row(
        WATCHED,
        "Keep-alive requests, 64 connections, while recent and status are asked",
        Work::Keep,
        64,
        None,
    ),
    row(
        ASKED,
        "Keep-alive requests, 64 connections, while metrics, documents and the page are asked",
        Work::Keep,
        64,
        None,
    ),
    row(ALONE[0], "Keep-alive requests, 1 connection, one worker", Work::Keep, 1, None),
    row(ALONE[1], "Keep-alive requests, 4 connections, one worker", Work::Keep, 4, None),
    row(ALONE[2], "Keep-alive requests, 50 connections, one worker", Work::Keep, 50, None),
    row("paced", "20,000 requests a second at random times, 64 connections", Work::Paced, 64, None),
    row("short", "Short connections, 32 at a time", Work::Short, 32, None),
    row(
        CHECKED[0],
        "Keep-alive requests, 64 connections, with 20 servers, checks and limits",
        Work::Keep,
        64,
        None,
    ),
    row(
        CHECKED[1],
        "Short connections, 32 at a time, with 20 servers, checks and limits",
        Work::Short,
        32,
        None,
    ),
    row(SCALE[0], "Short connections, 32 at a time, with 2 to 1,000 servers", Work::Short, 32, None),
    row(
        SCALE[1],
        "Short connections, 32 at a time, while 100 to 50,000 idle ones are open",
        Work::Short,
        32,
        None,
    ),
    row("bulk1", "Bulk download, 1 stream", Work::Bulk, 1, None),
    row("bulk8", "Bulk download, 8 streams", Work::Bulk, 8, None),
    row("idle", "Idle connections, 5,000", Work::Idle, 5000, None),
    row("udp", "UDP questions, 64 ports that stay", Work::Ask, 64, None),
    row("udp-new", "UDP questions, each from a new port, 32 at a time", Work::Question, 32, None),
    row("tls-full", "TLS full handshakes, 16 at a time", Work::Short, 16, Some(false)),
    row("tls-resumed", "TLS resumed handshakes, 16 at a time", Work::Short, 16, Some(true)),
    row("tls-bulk1", "TLS bulk download, 1 stream", Work::Bulk, 1, Some(false)),
    row("tls-bulk8", "TLS bulk download, 8 streams", Work::Bulk, 8, Some(false)),
    row("tls-idle", "TLS idle connections, 1,000", Work::Idle, 1000, Some(false)),
    to_server("server-tls-full", "TLS to the server, full handshakes, 16 at a time", Work::Short, 16, false),
    to_server(
        "server-tls-resumed",
        "TLS to the server, resumed handshakes, 16 at a time",
        Work::Short,
        16,
        true,
    ),
    to_server("server-tls-bulk1", "TLS to the server, bulk download, 1 stream", Work::Bulk, 1, true),
    to_server("server-tls-bulk8", "TLS to the server, bulk download, 8 streams", Work::Bulk, 8, true),
];

/// A round in the row's units.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    pub(crate) rate: Option<f64>,
    /// The latency in microseconds.
    pub(crate) p99: Option<f64>,
    /// CPU time per unit, or growth of memory per connection.
    pub(crate) cost: Option<f64>,
    /// CPU time of the whole machine per unit.
    pub(crate) machine: Option<f64>,
    /// All memory per connection, whenever it was taken.
    pub(crate) all: Option<f64>,
}

impl Row {
    /// Whether TLS is spoken on either side of the contender.
    pub(crate) fn has_tls(&self) -> bool {
        self.tls.or(self.server_tls).is_some()
    }

    pub(crate) fn rate_label(&self) -> Option<&'static str> {
        match self.work {
            Work::Keep | Work::Paced => Some("req/s"),
            Work::Short if self.has_tls() => Some("handshakes/s"),
            Work::Short => Some("conn/s"),
            Work::Bulk => Some("GB/s"),
            Work::Ask | Work::Question => Some("answers/s"),
            Work::Idle => None,
        }
    }

    /// The contender that the table compares with besides C pen. HAProxy does not balance UDP.
    pub(crate) fn rival(&self) -> Role {
        match self.work {
            _ if CHECKED.contains(&self.key) || SCALE.contains(&self.key) => Role::Ours,
            work if work.is_udp() => Role::Nginx,
            _ => Role::HaProxy,
        }
    }

    pub(crate) fn cost_label(&self) -> &'static str {
        match self.work {
            Work::Keep | Work::Paced => "CPU us a request",
            Work::Short => "CPU us each",
            Work::Bulk => "CPU s a GB",
            Work::Ask | Work::Question => "CPU us an answer",
            Work::Idle => "KB each",
        }
    }

    /// Whether the cost of the whole machine is a column.
    pub(crate) fn has_machine(&self) -> bool {
        !matches!(self.work, Work::Bulk | Work::Idle)
    }

    /// The number of workers or threads of each, if it is not the usual one.
    fn workers(&self) -> Option<usize> {
        ALONE.contains(&self.key).then_some(1)
    }

    /// The contender that is queried meanwhile, in a row that measures the effect of that.
    pub(crate) fn queried(&self) -> Option<Role> {
        match self.key {
            WATCHED => Some(Role::Watched),
            ASKED => Some(Role::Asked),
            _ => None,
        }
    }

    /// The contenders of the row.
    pub(crate) fn contenders(&self, effort: &Effort) -> Vec<Contender> {
        if let Some(queried) = self.queried() {
            return [Role::Ours, Role::Control, Role::Crowded, queried].map(Contender::new).into();
        }
        if self.server_tls.is_some() {
            let before = effort.before.then_some(Role::Before);
            let roles = [Role::Ours, Role::Control, Role::HaProxy, Role::Nginx].into_iter().chain(before);
            return roles.map(Contender::new).chain(effort.variants.iter().cloned()).collect();
        }
        if CHECKED.contains(&self.key) {
            return [Role::Ours, Role::Control, Role::Many, Role::Checked].map(Contender::new).into();
        }
        let ours = [Role::Ours, Role::Control].into_iter();
        if self.key == SCALE[0] {
            let servers = RULES.into_iter().flat_map(|rule| {
                let all_serve = SERVERS.map(|count| Role::Servers(rule, count));
                all_serve.into_iter().chain([Role::FewServe(rule, SERVERS[0])])
            });
            return ours.chain(servers).map(Contender::new).collect();
        }
        if self.key == SCALE[1] {
            return ours.chain(IDLE.map(Role::Holding)).map(Contender::new).collect();
        }
        let mut roles = vec![Role::Ours, Role::Control, Role::CPen, Role::HaProxy, Role::Nginx];
        if self.work.is_udp() {
            roles.retain(|role| *role != Role::HaProxy);
        }
        if self.tls.is_some() {
            roles.push(Role::Hitch);
        } else if self.work != Work::Idle {
            roles.insert(0, Role::Direct);
        }
        if matches!(self.work, Work::Keep | Work::Paced | Work::Short) && self.tls.is_none() {
            roles.insert(1, Role::Bare);
        }
        if self.work == Work::Bulk && self.tls.is_none() {
            roles.insert(5, Role::HaProxySplice);
        }
        if self.tls.is_none() && matches!(self.work, Work::Keep | Work::Paced | Work::Short | Work::Bulk) {
            roles.push(Role::Portable);
        }
        if effort.before {
            roles.push(Role::Before);
        }
        roles.into_iter().map(Contender::new).chain(effort.variants.iter().cloned()).collect()
    }

    fn sample(&self, out: &Outcome) -> Sample {
        let units = if self.work == Work::Bulk { out.units as f64 / 1e9 } else { out.units as f64 };
        let positive = |v: f64| (v > 0.0 && v.is_finite()).then_some(v);
        let cpu = |scale: f64| positive(out.cpu_ns as f64 / scale / units);
        Sample {
            rate: positive(units / (out.wall_ns as f64 / 1e9)),
            p99: positive(out.p99_ns as f64 / 1e3),
            cost: match self.work {
                Work::Idle => positive(out.grown_kib as f64 / units),
                Work::Bulk => cpu(1e9),
                Work::Keep | Work::Paced | Work::Short | Work::Ask | Work::Question => cpu(1e3),
            },
            machine: positive(out.machine_ns as f64 / 1e3 / units).filter(|_| self.has_machine()),
            all: positive(out.all_kib as f64 / units),
        }
    }
}

/// The rounds of one contender.
pub(crate) struct Series {
    pub(crate) who: Contender,
    /// One per round; `None` if the round failed.
    pub(crate) rounds: Vec<Option<Sample>>,
    /// Why it takes no part.
    pub(crate) skipped: Option<String>,
    /// Why the last failed round failed.
    pub(crate) failure: Option<String>,
}

impl Series {
    pub(crate) fn values(&self, field: fn(&Sample) -> Option<f64>) -> Vec<Option<f64>> {
        self.rounds.iter().map(|s| s.as_ref().and_then(field)).collect()
    }

    fn take(&mut self, row: &Row, outcome: Result<Outcome, String>) {
        self.rounds.push(match outcome {
            Ok(out) => Some(row.sample(&out)),
            Err(why) => {
                self.failure = Some(why);
                None
            }
        });
    }
}

/// A row as measured.
pub(crate) struct Measured {
    pub(crate) row: &'static Row,
    pub(crate) series: Vec<Series>,
}

/// The extent of the measurement.
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    pub(crate) length: Duration,
    pub(crate) variants: Vec<Contender>,
    /// Whether another build of pen takes part.
    pub(crate) before: bool,
}

/// Measures one row: contenders take turns, and each round starts with another one.
pub(crate) fn measure(
    row: &'static Row,
    setup: &Setup,
    effort: &Effort,
    ports: &mut impl Iterator<Item = u16>,
) -> Measured {
    let setup = &Setup { workers: row.workers().unwrap_or(setup.workers), ..setup.clone() };
    let tls = row.tls.map(|resume| Tls { ca: setup.ca(), resume });
    let mut series: Vec<Series> = row
        .contenders(effort)
        .into_iter()
        .map(|who| Series { who, rounds: Vec::new(), skipped: None, failure: None })
        .collect();
    let mut start = |who: &Contender| {
        let port = ports.next().ok_or("out of ports")?;
        Running::start(setup, who, port, row, tls.as_ref())
    };
    let drive = |who: &Contender, run: &Running| {
        let _watch = run.watch(who.role);
        process::drive(&Task {
            work: row.work,
            addr: run.addr,
            conns: row.conns,
            length: effort.length,
            pids: run.pids.clone(),
            tls: tls.clone(),
        })
    };
    // Memory once used hides later growth, so each idle round has its own process; few rounds are enough.
    let fresh = row.work == Work::Idle;
    let rounds = match row.key {
        _ if fresh => effort.rounds.div_ceil(5).min(5),
        // It has many contenders.
        key if key == SCALE[0] => effort.rounds.div_ceil(2),
        _ => effort.rounds,
    };
    let mut running: Vec<Option<Running>> = Vec::new();
    for one in &mut series {
        let crowded = running.last().and_then(Option::as_ref);
        let started = match one.who.role {
            // It follows the contender whose process it shares.
            Role::Watched | Role::Asked => {
                crowded.map(Running::again).ok_or_else(|| "there is none with many clients".into())
            }
            _ => start(&one.who),
        };
        let started = started.map_err(|why| one.skipped = Some(why)).ok();
        running.push(started.filter(|_| !fresh));
    }
    let count = series.len();
    for round in 0..rounds {
        for turn in 0..count {
            let at = (round + turn) % count;
            let one = &mut series[at];
            if one.skipped.is_none() {
                let outcome = match &running[at] {
                    Some(run) => drive(&one.who, run),
                    None => start(&one.who).and_then(|run| drive(&one.who, &run)),
                };
                one.take(row, outcome);
            }
        }
    }
    Measured { row, series }
}
