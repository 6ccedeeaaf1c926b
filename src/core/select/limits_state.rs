//! How a client stands with the limits of each client, for the explanation of what it would get.

use std::fmt;

use serde::Serialize;

use crate::core::admission::Admission;
use crate::core::admission::limits::{Allowance, ClientUsage, Limited};
use crate::core::refusals::Refusal;
use crate::core::report::model::seconds;
use crate::core::settings::Keyword;

/// What a client has used of `client_conn_max` and `client_rate_max`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct LimitsState {
    /// Connections that it has.
    connections: u32,
    /// How many it may have; 0 is no limit.
    connections_max: u32,
    /// Connections that it began within the period.
    begun: u64,
    /// How many it may begin; 0 is no limit.
    begun_max: u32,
    /// That period.
    period_seconds: f64,
    /// The setting whose limit a further connection would exceed.
    reached: Option<&'static str>,
}

impl LimitsState {
    /// That of a client which has used so much; `None` without a limit, and for one that is not counted.
    pub(super) fn new(allowed: Allowance, usage: ClientUsage, admission: Admission) -> Option<Self> {
        let counted = matches!(admission, Admission::Admit | Admission::Abuse);
        let limited = allowed.connections != 0 || allowed.rate != 0;
        (counted && limited).then(|| LimitsState {
            connections: usage.connections,
            connections_max: allowed.connections,
            begun: usage.begun,
            begun_max: allowed.rate,
            period_seconds: seconds(allowed.period),
            reached: allowed.reached(usage).map(|limited| match limited {
                Limited::Connections => Refusal::Connections.word(),
                Limited::Rate => Refusal::Rate.word(),
            }),
        })
    }
}

impl LimitsState {
    /// Whether a further connection would be refused.
    pub(super) fn is_reached(&self) -> bool {
        self.reached.is_some()
    }
}

impl fmt::Display for LimitsState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of_connections = (self.connections_max != 0).then(|| {
            let (count, max) = (self.connections, self.connections_max);
            format!("it has {count} of {max} connections (client_conn_max)")
        });
        let of_rate = (self.begun_max != 0).then(|| {
            let (count, max, period) = (self.begun, self.begun_max, self.period_seconds);
            format!("it has begun {count} of {max} connections within {period} s (client_rate_max)")
        });
        let both: Vec<_> = of_connections.into_iter().chain(of_rate).collect();
        f.write_str(&both.join(", "))?;
        self.reached.map_or(Ok(()), |setting| write!(f, ": {setting} is reached"))
    }
}
