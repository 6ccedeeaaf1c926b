//! The recent history of the servers' counters: rates, curves and changes of state, for the dashboard.

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use crate::core::Millis;
use crate::core::addr::with_port;
use crate::core::report::model;
use crate::core::report::pieces::Rows;
use crate::core::snapshot::Backend;
use crate::core::state_changes::StateChange;

use super::server_history::{Rates, ServerHistory, ServerSample};

/// The usual time between two samples.
pub(in crate::admin) const PERIOD: Duration = Duration::from_secs(1);
/// The time that a point of a curve stands for.
const POINT: Duration = Duration::from_secs(5);
/// The number of changes of state that are kept.
const CHANGES: usize = 100;

/// The history of all servers.
#[derive(Debug, Default)]
pub(in crate::admin) struct History {
    /// By the number of the server, see [`crate::core::snapshot::Role::number`].
    servers: HashMap<i64, ServerHistory>,
    changes: Changes,
    /// The number of samples so far.
    looks: u64,
    /// The number of points that the curves have got so far.
    points: u64,
    /// How many of them came with the last sample, and the time since.
    new_points: u32,
    since_point: Duration,
    /// Made once a sample: it takes milliseconds with thousands of servers, and every reader needs it.
    totals: HistoryTotals,
}

/// All servers together, in the last sample.
#[derive(Debug, Clone, Default)]
pub(super) struct HistoryTotals {
    /// The sum of their rates.
    pub(super) rates: Rates,
    /// The sum of their curves: bytes per second in the last five minutes, oldest first.
    pub(super) curve: Vec<f64>,
}

/// A change of a server's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RecordedChange {
    /// Its number, from 1.
    pub(super) number: u64,
    pub(super) time: String,
    pub(super) server: String,
    pub(super) address: String,
    pub(super) from: &'static str,
    pub(super) to: &'static str,
    /// Why, as far as it is known.
    pub(super) reason: Option<String>,
}

/// The latest changes, the last one first.
#[derive(Debug, Default)]
struct Changes {
    list: VecDeque<RecordedChange>,
    /// The number of changes so far.
    count: u64,
}

impl Changes {
    /// Notes that the state of a server is `state`, unless that is known.
    fn note(&mut self, server: &mut ServerHistory, state: &'static str, time: &str, reason: Option<&str>) {
        if server.state == state {
            return;
        }
        self.count += 1;
        self.list.push_front(RecordedChange {
            number: self.count,
            time: time.to_owned(),
            server: server.name.clone(),
            address: with_port(&server.address, server.port),
            from: server.state,
            to: state,
            reason: reason.map(str::to_owned),
        });
        self.list.truncate(CHANGES);
        server.state = state;
    }
}

impl History {
    /// Adds a change, of which samples may know nothing.
    pub(in crate::admin) fn note(&mut self, time: &str, change: &StateChange) {
        if let Some(server) = self.servers.get_mut(&change.number) {
            server.name.clone_from(&change.name);
            self.changes.note(server, change.state, time, change.reason.as_deref());
        }
    }

    /// Adds a sample of the servers at `now`, the date of which is `time`, `passed` after the one before.
    pub(in crate::admin) fn look(
        &mut self,
        servers: Rows<Arc<Backend>>,
        now: Millis,
        time: &str,
        passed: Duration,
    ) {
        self.begin(passed);
        for backend in servers.flatten() {
            let reason = || model::reason(&backend, now);
            self.sample(&ServerSample::new(&backend, now), reason, time, passed);
        }
        self.end();
    }

    fn begin(&mut self, passed: Duration) {
        self.looks += 1;
        self.since_point += passed;
        // More than one when a sample came late.
        self.new_points = 0;
        while self.since_point >= POINT {
            self.since_point -= POINT;
            self.new_points += 1;
        }
        self.points += u64::from(self.new_points);
    }

    /// Forgets the servers that were not in the sample.
    fn end(&mut self) {
        let (look, before) = (self.looks, self.servers.len());
        self.servers.retain(|_, server| server.look == look);
        let is_same_curve = self.new_points == 0 && self.servers.len() == before;
        self.totals = HistoryTotals {
            rates: self.servers.values().map(|server| server.rates).sum(),
            curve: if is_same_curve { mem::take(&mut self.totals.curve) } else { self.sum() },
        };
    }

    fn sample(
        &mut self,
        sample: &ServerSample<'_>,
        reason: impl FnOnce() -> Option<String>,
        time: &str,
        passed: Duration,
    ) {
        let server = self.servers.entry(sample.number).or_insert_with(|| ServerHistory::new(sample));
        if (server.address.as_str(), server.port) != (sample.address, sample.port) {
            *server = ServerHistory::new(sample);
        }
        if server.name != sample.name {
            server.name = sample.name.clone().into_owned();
        }
        if server.state != sample.state {
            self.changes.note(server, sample.state, time, reason().as_deref());
        }
        server.add(sample.counters, passed, self.new_points);
        server.look = self.looks;
    }

    /// The rates of a server between the last two samples.
    pub(super) fn rates(&self, number: i64) -> Rates {
        self.servers.get(&number).map(|server| server.rates).unwrap_or_default()
    }

    /// Its bytes per second in the last five minutes, oldest first.
    pub(super) fn curve(&self, number: i64) -> impl ExactSizeIterator<Item = f64> {
        static NONE: VecDeque<f64> = VecDeque::new();
        self.servers.get(&number).map_or(&NONE, |server| &server.curve).iter().copied()
    }

    /// All servers together.
    pub(super) fn totals(&self) -> &HistoryTotals {
        &self.totals
    }

    /// The sum of the curves of all servers.
    fn sum(&self) -> Vec<f64> {
        let length = self.servers.values().map(|server| server.curve.len()).max().unwrap_or(0);
        let mut sum = vec![0.0; length];
        for server in self.servers.values() {
            // Every curve ends now.
            sum.iter_mut().rev().zip(server.curve.iter().rev()).for_each(|(sum, value)| *sum += value);
        }
        sum
    }

    /// The number of points that the curves have got so far.
    pub(super) fn points(&self) -> u64 {
        self.points
    }

    /// The changes of state, latest first.
    pub(super) fn changes(&self) -> impl Iterator<Item = &RecordedChange> {
        self.changes.list.iter()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::server_history::{POINTS, ServerTotals};
    use super::*;
    use crate::core::report::model::{ObservedServer, ServerRow, ServerState};
    use crate::core::settings::AdminState;

    pub(in crate::admin::dashboard) fn row(number: usize, state: ServerState, sent: u64) -> ObservedServer {
        let row = ServerRow {
            server: Some(number),
            number: i64::try_from(number).unwrap(),
            name: None,
            admin_state: AdminState::Ready,
            role: "regular",
            address: "192.0.2.1".into(),
            port: 80,
            state,
            blacklisted_seconds: 0.0,
            connections: 0,
            max: 0,
            hard: 0,
            weight: 0,
            prio: 0,
            acl: 0,
            sent_bytes: sent,
            received_bytes: 0,
            connects: 0,
            failures: 0,
            connect_p50_seconds: None,
            connect_p99_seconds: None,
            connect_times: Default::default(),
        };
        ObservedServer { row, check: None, reason: (!state.is_up()).then(|| "refused".into()) }
    }

    fn look(history: &mut History, servers: &[ObservedServer], time: &str, passed: Duration) {
        history.begin(passed);
        for ObservedServer { row, reason, .. } in servers {
            let sample = ServerSample {
                number: row.number,
                name: row.name.clone().unwrap_or_else(|| row.label()).into(),
                address: &row.address,
                port: row.port,
                state: row.standing(),
                counters: ServerTotals {
                    connects: row.connects,
                    sent: row.sent_bytes,
                    received: row.received_bytes,
                },
            };
            history.sample(&sample, || reason.clone(), time, passed);
        }
        history.end();
    }

    #[test]
    fn rates_curves_and_changes_follow_the_counters() {
        let mut history = History::default();
        look(&mut history, &[row(0, ServerState::Up, 1000)], "t0", PERIOD);
        assert_eq!(history.rates(0), Rates::default());
        look(&mut history, &[row(0, ServerState::Up, 3000)], "t1", Duration::from_millis(500));
        assert_eq!(history.rates(0).sent, 4000.0);
        for n in 0..4 {
            look(&mut history, &[row(0, ServerState::Blacklisted, 3000)], &format!("t{}", n + 2), PERIOD);
        }
        let changes: Vec<_> =
            history.changes().map(|c| (c.number, &*c.time, &*c.server, c.from, c.to)).collect();
        assert_eq!(changes, [(1, "t2", "0", "up", "blacklisted")]);
        assert_eq!(history.changes().next().and_then(|c| c.reason.as_deref()), Some("refused"));
        assert_eq!((history.curve(0).len(), history.points()), (1, 1));
        let mut drained = row(0, ServerState::Up, 3000);
        (drained.row.admin_state, drained.row.name) = (AdminState::Drain, Some("www1".into()));
        look(&mut history, &[drained], "t6", PERIOD);
        let last = history.changes().next().map(|c| (&*c.server, c.from, c.to));
        assert_eq!(last, Some(("www1", "blacklisted", "drain")));
        // A removed server is forgotten, and a new one with its number starts without history.
        look(&mut history, &[], "t7", PERIOD);
        assert_eq!(history.curve(0).len(), 0);
        look(&mut history, &[row(0, ServerState::Up, 9000)], "t8", PERIOD);
        assert_eq!(history.rates(0), Rates::default());
    }

    #[test]
    fn a_change_between_two_samples_is_told_once() {
        let mut history = History::default();
        let change =
            |state| StateChange { number: 0, name: "www".into(), at: 0, state, reason: Some("why".into()) };
        history.note("t0", &change("down"));
        look(&mut history, &[row(0, ServerState::Up, 0)], "t1", PERIOD);
        for state in ["down", "down", "up"] {
            history.note("t2", &change(state));
        }
        look(&mut history, &[row(0, ServerState::Up, 0)], "t3", PERIOD);
        let changes: Vec<_> = history.changes().map(|c| (&*c.time, c.from, c.to)).collect();
        assert_eq!(changes, [("t2", "down", "up"), ("t2", "up", "down")]);
    }

    #[test]
    fn curves_are_added_from_their_ends() {
        let mut history = History::default();
        const LOOKS: u64 = 5;
        for n in 0..2 * LOOKS {
            let mut servers = vec![row(0, ServerState::Up, n * 100)];
            if n >= LOOKS - 1 {
                servers.push(row(1, ServerState::Up, n * 1000));
            }
            look(&mut history, &servers, "now", PERIOD);
        }
        let (own, sum) = (history.curve(0).collect::<Vec<_>>(), &history.totals().curve);
        assert_eq!(sum.len(), own.len());
        assert_eq!((sum[0], sum[1]), (own[0], own[1] + 1000.0));
    }

    #[test]
    fn it_does_not_grow() {
        let mut history = History::default();
        for n in 0..1000 {
            let state = if n % 2 == 0 { ServerState::Up } else { ServerState::Blacklisted };
            look(&mut history, &[row(0, state, n)], "now", PERIOD);
        }
        assert_eq!((history.changes().count(), history.curve(0).len()), (CHANGES, POINTS));
    }

    #[test]
    fn a_point_stands_for_five_seconds_however_late_samples_are() {
        let mut history = History::default();
        for n in 0..5 {
            look(&mut history, &[row(0, ServerState::Up, n * 1000)], "t", 3 * PERIOD);
        }
        assert_eq!((history.curve(0).len(), history.points()), (3, 3));
        look(&mut history, &[row(0, ServerState::Up, 9000)], "t", Duration::from_secs(12));
        assert_eq!((history.curve(0).len(), history.points()), (5, 5));
        look(&mut history, &[row(0, ServerState::Up, 9000)], "t", Duration::from_secs(100_000));
        assert_eq!(history.curve(0).len(), POINTS);
    }
}
