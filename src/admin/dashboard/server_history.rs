//! The recent history of one server: its rates and its curve.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::time::Duration;

use crate::core::Millis;
use crate::core::report::model::standing_of;
use crate::core::snapshot::Backend;

/// Points of a curve: five minutes.
pub(super) const POINTS: usize = 60;

/// The history of one server.
#[derive(Debug)]
pub(super) struct ServerHistory {
    pub(super) name: String,
    pub(super) address: String,
    pub(super) port: u16,
    /// The number of the last sample with it.
    pub(super) look: u64,
    pub(super) state: &'static str,
    last: ServerTotals,
    pub(super) rates: Rates,
    /// Bytes both ways since the last point.
    bytes: f64,
    seconds: f64,
    /// Bytes a second both ways, the oldest first.
    pub(super) curve: VecDeque<f64>,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ServerTotals {
    pub(super) connects: u64,
    pub(super) sent: u64,
    pub(super) received: u64,
}

/// A server as it is in a sample. It is cheap to make, since all servers are looked at every second.
pub(super) struct ServerSample<'a> {
    pub(super) number: i64,
    /// Its name, or what it is called without one.
    pub(super) name: Cow<'a, str>,
    pub(super) address: &'a str,
    pub(super) port: u16,
    pub(super) state: &'static str,
    pub(super) counters: ServerTotals,
}

impl<'a> ServerSample<'a> {
    pub(super) fn new(backend: &'a Backend, now: Millis) -> Self {
        let (sent, received) = backend.stats.traffic.totals();
        ServerSample {
            number: backend.role.number(),
            name: backend.display_name(),
            address: &backend.label,
            port: backend.port,
            state: standing_of(backend, now),
            counters: ServerTotals { connects: backend.stats.connect_times.read().count(), sent, received },
        }
    }
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

impl ServerHistory {
    /// The history that begins with a sample.
    pub(super) fn new(sample: &ServerSample<'_>) -> Self {
        ServerHistory {
            name: String::new(),
            address: sample.address.to_owned(),
            port: sample.port,
            look: 0,
            state: sample.state,
            last: sample.counters,
            rates: Rates::default(),
            bytes: 0.0,
            seconds: 0.0,
            curve: VecDeque::new(),
        }
    }

    /// Adds the counters of a sample, which completes so many `points` of the curve.
    pub(super) fn add(&mut self, counters: ServerTotals, passed: Duration, points: u32) {
        let seconds = passed.as_secs_f64().max(0.001);
        let rate = |now: u64, last: u64| now.saturating_sub(last) as f64 / seconds;
        self.rates = Rates {
            connects: rate(counters.connects, self.last.connects),
            sent: rate(counters.sent, self.last.sent),
            received: rate(counters.received, self.last.received),
        };
        self.last = counters;
        self.bytes += (self.rates.sent + self.rates.received) * seconds;
        self.seconds += seconds;
        if points > 0 {
            let point = std::mem::take(&mut self.bytes) / std::mem::take(&mut self.seconds);
            for _ in 0..points.min(POINTS as u32) {
                self.curve.push_back(point);
            }
            let more = self.curve.len().saturating_sub(POINTS);
            self.curve.drain(..more);
        }
    }
}
