//! The recent history of the servers' counters: rates, curves and changes of state, for the dashboard.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::core::report::model::ObservedServer;
use crate::core::state_changes::StateChange;

/// The sampling interval.
pub(in crate::admin) const PERIOD: Duration = Duration::from_secs(1);
/// Samples per point of a curve.
const LOOKS: u32 = 5;
/// Points of a curve: five minutes.
pub(super) const POINTS: usize = 60;
/// The number of changes of state that are kept.
const CHANGES: usize = 100;

/// The history of all servers.
#[derive(Debug, Default)]
pub(in crate::admin) struct History {
    servers: HashMap<String, Track>,
    changes: Changes,
    looks: u32,
    /// The number of points that the curves have got so far.
    points: u64,
}

/// The history of one server.
#[derive(Debug)]
struct Track {
    name: String,
    address: String,
    state: &'static str,
    last: Counters,
    rates: Rates,
    /// Bytes both ways since the last point.
    bytes: f64,
    seconds: f64,
    /// Bytes a second both ways, the oldest first.
    curve: VecDeque<f64>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counters {
    connects: u64,
    sent: u64,
    received: u64,
}

/// The rates of the last second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Rates {
    pub(super) connects: f64,
    pub(super) sent: f64,
    pub(super) received: f64,
}

impl std::iter::Sum for Rates {
    fn sum<I: Iterator<Item = Rates>>(rates: I) -> Rates {
        rates.fold(Rates::default(), |sum, rates| Rates {
            connects: sum.connects + rates.connects,
            sent: sum.sent + rates.sent,
            received: sum.received + rates.received,
        })
    }
}

/// A change of a server's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
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
    list: VecDeque<Change>,
    /// The number of changes so far.
    count: u64,
}

impl Changes {
    /// Notes that the state of a server is `state`, unless that is known.
    fn note(&mut self, track: &mut Track, state: &'static str, time: &str, reason: Option<&str>) {
        if track.state == state {
            return;
        }
        self.count += 1;
        self.list.push_front(Change {
            number: self.count,
            time: time.to_owned(),
            server: track.name.clone(),
            address: track.address.clone(),
            from: track.state,
            to: state,
            reason: reason.map(str::to_owned),
        });
        self.list.truncate(CHANGES);
        track.state = state;
    }
}

impl History {
    /// Adds a change, of which samples may know nothing.
    pub(in crate::admin) fn note(&mut self, time: &str, change: &StateChange) {
        if let Some(track) = self.servers.get_mut(&change.server) {
            self.changes.note(track, change.state, time, change.reason.as_deref());
        }
    }

    /// Adds a sample of the servers' state, taken at `time` and `passed` after the one before.
    pub(in crate::admin) fn look(&mut self, servers: &[ObservedServer], time: &str, passed: Duration) {
        self.looks = (self.looks + 1) % LOOKS;
        self.points += u64::from(self.looks == 0);
        let seconds = passed.as_secs_f64().max(0.001);
        let mut before = std::mem::take(&mut self.servers);
        for ObservedServer { row, reason, .. } in servers {
            let (id, address, state) = (row.label(), row.endpoint(), row.standing());
            let counters =
                Counters { connects: row.connects, sent: row.sent_bytes, received: row.received_bytes };
            let name = row.name.clone().unwrap_or_else(|| id.clone());
            let known = before.remove(&id).filter(|track| track.address == address);
            let mut track = known.unwrap_or_else(|| Track {
                name: String::new(),
                address,
                state,
                last: counters,
                rates: Rates::default(),
                bytes: 0.0,
                seconds: 0.0,
                curve: VecDeque::new(),
            });
            track.name = name;
            self.changes.note(&mut track, state, time, reason.as_deref());
            let rate = |now: u64, last: u64| now.saturating_sub(last) as f64 / seconds;
            track.rates = Rates {
                connects: rate(counters.connects, track.last.connects),
                sent: rate(counters.sent, track.last.sent),
                received: rate(counters.received, track.last.received),
            };
            track.last = counters;
            track.bytes += (track.rates.sent + track.rates.received) * seconds;
            track.seconds += seconds;
            if self.looks == 0 {
                track.curve.push_back(std::mem::take(&mut track.bytes) / std::mem::take(&mut track.seconds));
                if track.curve.len() > POINTS {
                    track.curve.pop_front();
                }
            }
            self.servers.insert(id, track);
        }
    }

    /// The rates of a server in the last second.
    pub(super) fn rates(&self, id: &str) -> Rates {
        self.servers.get(id).map(|track| track.rates).unwrap_or_default()
    }

    /// Its bytes per second in the last five minutes, oldest first.
    pub(super) fn curve(&self, id: &str) -> impl ExactSizeIterator<Item = f64> {
        static NONE: VecDeque<f64> = VecDeque::new();
        self.servers.get(id).map_or(&NONE, |track| &track.curve).iter().copied()
    }

    /// The sum of the curves of all servers.
    pub(super) fn sum(&self) -> Vec<f64> {
        let length = self.servers.values().map(|track| track.curve.len()).max().unwrap_or(0);
        let mut sum = vec![0.0; length];
        for track in self.servers.values() {
            // Every curve ends now.
            sum.iter_mut().rev().zip(track.curve.iter().rev()).for_each(|(sum, value)| *sum += value);
        }
        sum
    }

    /// The number of points that the curves have got so far.
    pub(super) fn points(&self) -> u64 {
        self.points
    }

    /// The changes of state, latest first.
    pub(super) fn changes(&self) -> impl Iterator<Item = &Change> {
        self.changes.list.iter()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::core::report::model::{ServerRow, ServerState};
    use crate::core::settings::AdminState;

    pub(in crate::admin::dashboard) fn row(number: usize, state: ServerState, sent: u64) -> ObservedServer {
        let row = ServerRow {
            server: Some(number),
            number: 0,
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

    #[test]
    fn rates_curves_and_changes_follow_the_counters() {
        let mut history = History::default();
        history.look(&[row(0, ServerState::Up, 1000)], "t0", PERIOD);
        assert_eq!(history.rates("0"), Rates::default());
        history.look(&[row(0, ServerState::Up, 3000)], "t1", Duration::from_millis(500));
        assert_eq!(history.rates("0").sent, 4000.0);
        for n in 0..4 {
            history.look(&[row(0, ServerState::Blacklisted, 3000)], &format!("t{}", n + 2), PERIOD);
        }
        let changes: Vec<_> =
            history.changes().map(|c| (c.number, &*c.time, &*c.server, c.from, c.to)).collect();
        assert_eq!(changes, [(1, "t2", "0", "up", "blacklisted")]);
        assert_eq!(history.changes().next().and_then(|c| c.reason.as_deref()), Some("refused"));
        assert_eq!((history.curve("0").len(), history.points()), (1, 1));
        let mut drained = row(0, ServerState::Up, 3000);
        (drained.row.admin_state, drained.row.name) = (AdminState::Drain, Some("www1".into()));
        history.look(&[drained], "t6", PERIOD);
        let last = history.changes().next().map(|c| (&*c.server, c.from, c.to));
        assert_eq!(last, Some(("www1", "blacklisted", "drain")));
        // A removed server is forgotten, and a new one with its number starts without history.
        history.look(&[], "t7", PERIOD);
        assert_eq!(history.curve("0").len(), 0);
        history.look(&[row(0, ServerState::Up, 9000)], "t8", PERIOD);
        assert_eq!(history.rates("0"), Rates::default());
    }

    #[test]
    fn a_change_between_two_samples_is_told_once() {
        let mut history = History::default();
        let change = |state| StateChange { server: "0".into(), at: 0, state, reason: Some("why".into()) };
        history.note("t0", &change("down"));
        history.look(&[row(0, ServerState::Up, 0)], "t1", PERIOD);
        for state in ["down", "down", "up"] {
            history.note("t2", &change(state));
        }
        history.look(&[row(0, ServerState::Up, 0)], "t3", PERIOD);
        let changes: Vec<_> = history.changes().map(|c| (&*c.time, c.from, c.to)).collect();
        assert_eq!(changes, [("t2", "down", "up"), ("t2", "up", "down")]);
    }

    #[test]
    fn curves_are_added_from_their_ends() {
        let mut history = History::default();
        for n in 0..2 * u64::from(LOOKS) {
            let mut servers = vec![row(0, ServerState::Up, n * 100)];
            if n >= u64::from(LOOKS) - 1 {
                servers.push(row(1, ServerState::Up, n * 1000));
            }
            history.look(&servers, "now", PERIOD);
        }
        let (own, sum) = (history.curve("0").collect::<Vec<_>>(), history.sum());
        assert_eq!(sum.len(), own.len());
        assert_eq!((sum[0], sum[1]), (own[0], own[1] + 1000.0));
    }

    #[test]
    fn it_does_not_grow() {
        let mut history = History::default();
        for n in 0..1000 {
            let state = if n % 2 == 0 { ServerState::Up } else { ServerState::Blacklisted };
            history.look(&[row(0, state, n)], "now", PERIOD);
        }
        assert_eq!((history.changes().count(), history.curve("0").len()), (CHANGES, POINTS));
    }
}
