//! The result that the search for a client's server would have, without side effects: nothing is connected, counted or
//! advanced.

use serde::Serialize;
use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::sync::atomic::Ordering::Relaxed;

use super::Selection;
use super::limits_state::LimitsState;
use crate::core::Millis;
use crate::core::acl::Acl;
use crate::core::addr::ClientAddress;
use crate::core::admission::Admission;
use crate::core::admission::limits::ClientUsage;
use crate::core::affinity::{Client, Record};
use crate::core::backend::{Criterion, Standing, WHOLE};
use crate::core::health::Health;
use crate::core::number_set::NumberSet;
use crate::core::report::model::{ServerState, seconds};
use crate::core::settings::{AdminState, Keyword};
use crate::core::snapshot::{Algorithm, Backend, Role, Snapshot};
use std::sync::Arc;

/// Why a client gets the server that it gets, step by step; what speaks for and against each server say [`Candidates`].
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    /// The client.
    client: String,
    /// What `client_acl` says of it, or `tarpit_acl` if that denies it.
    list: ListVerdict,
    /// What follows from that: `admit`, `abuse`, `refuse` or `tarpit`.
    admission: &'static str,
    /// How it stands with the limits of each client, if there are any.
    limits: Option<LimitsState>,
    /// The server that it had.
    remembered: Option<Remembered>,
    /// The rule by which a server is chosen.
    algorithm: &'static str,
    /// The server that it would get.
    choice: Option<Choice>,
    /// Where every server that could serve it is full: the queue.
    queue: Option<QueueState>,
    /// What the servers are judged by.
    #[serde(skip)]
    candidates: Candidates,
}

/// What the servers are judged by, for one client: each of them when its turn comes, in the snapshot that is in force then.
#[derive(Debug, Clone)]
pub struct Candidates {
    client: Client,
    port: u16,
    /// The server that it had, if that counts.
    known: Option<usize>,
    admission: Admission,
    /// The server that its hash names, of those in service.
    hashed: Option<usize>,
}

/// How the queue is for one more client.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct QueueState {
    /// How many wait already.
    ahead: usize,
    /// How many may.
    max: usize,
}

/// What an access list says of a client.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct ListVerdict {
    /// The number of the list.
    acl: usize,
    /// The number of the entry that fits, from 0.
    entry: Option<usize>,
    /// That entry, or the list's default where none fits.
    rule: Option<String>,
    /// Whether the client may pass.
    permitted: bool,
}

/// The server that a client had.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Remembered {
    /// Its number.
    server: usize,
    /// How long ago the client last connected.
    age_seconds: f64,
    /// Whether it counts.
    used: bool,
}

/// A server as this client may have it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Candidate {
    /// Its number; none for the emergency and the abuse server.
    server: Option<usize>,
    /// As messages name it.
    name: String,
    /// How it stands.
    state: ServerState,
    /// What speaks for it in this moment.
    merits: Vec<String>,
    /// What speaks against it: nothing, if it can serve the client.
    obstacles: Vec<String>,
}

/// The server that a client would get.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Choice {
    /// Its number; none for the emergency and the abuse server.
    server: Option<usize>,
    /// As messages name it.
    name: String,
    /// Whether something speaks against it all the same.
    #[serde(skip)]
    is_last_resort: bool,
}

impl ListVerdict {
    fn of(acls: &[Acl], n: usize, client: Client) -> Self {
        let (entry, permitted) = acls.get(n).map_or((None, true), |acl| acl.judge(client.ip()));
        let list = acls.get(n);
        let rule = match entry {
            Some(entry) => list.and_then(|acl| acl.entries().get(entry)).map(ToString::to_string),
            None => list.and_then(Acl::default_line).map(|line| line.to_string()),
        };
        ListVerdict { acl: n, entry, rule, permitted }
    }
}

impl fmt::Display for ListVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.permitted { "permits" } else { "denies" };
        write!(f, "list {} {verdict} it", self.acl)?;
        match (&self.rule, self.entry) {
            (Some(rule), Some(entry)) => write!(f, " by entry {entry}, {rule}"),
            (Some(rule), None) => write!(f, " by its {rule}, no entry matches"),
            _ => f.write_str(", no entry matches"),
        }
    }
}

impl Explanation {
    /// The explanation for `address` at `now`; `record` is its entry in the affinity table, and `usage` what it has used of its
    /// limits.
    pub fn new(
        snapshot: &Arc<Snapshot>,
        address: ClientAddress,
        record: Option<&Record>,
        usage: ClientUsage,
        now: Millis,
    ) -> Self {
        let client = Client::new(address.ip);
        let admission = Admission::of(snapshot, client);
        let list = match (admission, snapshot.tarpit_acl) {
            (Admission::Tarpit, Some(list)) => list,
            _ => snapshot.client_acl,
        };
        let last = record.filter(|_| admission == Admission::Admit).and_then(|record| {
            let age = now.saturating_sub(record.seen);
            let fresh = snapshot.tracking == 0 || age <= snapshot.tracking;
            Some((record.server?, age, fresh && snapshot.policy.affinity))
        });
        let known = last.filter(|(.., used)| *used).map(|(n, ..)| n);
        let port = address.port.unwrap_or(0);
        let search = Selection::new(Arc::clone(snapshot), client, port, known, admission);
        let hashed = || search.by_hash((Criterion::Up, now), |n, b| search.is_in_service(n, b));
        let by_hash = snapshot.policy.algorithm == Algorithm::Hash;
        let candidates =
            Candidates { client, port, known, admission, hashed: by_hash.then(hashed).flatten() };
        let named = |backend: &Arc<Backend>| Choice {
            server: backend.role.slot(),
            name: backend.to_string(),
            is_last_resort: !CandidateJudge::new(&candidates, snapshot).judge(backend, now).can_serve(),
        };
        let choice = search.peek(now).map(named);
        let limits = LimitsState::new(snapshot.allowance, usage, admission);
        let is_limited = limits.as_ref().is_some_and(LimitsState::is_reached);
        let queue = search.queue(now).filter(|_| !is_limited);
        let waits = queue.as_ref().is_some_and(|queue| queue.ahead < queue.max);
        Explanation {
            client: address.to_string(),
            list: ListVerdict::of(&snapshot.acls, list, client),
            admission: match admission {
                Admission::Admit => "admit",
                Admission::Abuse => "abuse",
                Admission::Refuse => "refuse",
                Admission::Tarpit => "tarpit",
            },
            limits,
            remembered: last.map(|(server, age, used)| Remembered {
                server,
                age_seconds: seconds(age),
                used,
            }),
            algorithm: match snapshot.policy.algorithm {
                Algorithm::Prio => "prio",
                Algorithm::Weight => "weight",
                Algorithm::Hash => "hash",
                Algorithm::RoundRobin => "roundrobin",
            },
            choice: choice.filter(|_| !waits && !is_limited),
            queue,
            candidates,
        }
    }

    /// What the servers are judged by.
    pub fn candidates(&self) -> &Candidates {
        &self.candidates
    }

    /// The steps up to the servers, a line each.
    pub fn before_servers(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        _ = self.write_before_servers(&mut text);
        text
    }

    /// The steps after the servers, a line each.
    pub fn after_servers(&self) -> String {
        let mut text = String::new();
        _ = self.write_after_servers(&mut text);
        text
    }

    fn write_before_servers(&self, f: &mut String) -> fmt::Result {
        writeln!(f, "client {}: {}", self.client, self.list)?;
        if let Some(limits) = &self.limits {
            writeln!(f, "{limits}")?;
        }
        match (self.admission, &self.remembered) {
            ("tarpit", _) => writeln!(f, "its connection is held, and nothing is sent to it (tarpit_acl)")?,
            ("refuse", _) => writeln!(f, "it is denied, and there is no abuse server")?,
            ("abuse", _) => writeln!(f, "it is denied, and the abuse server serves it")?,
            (_, None) => writeln!(f, "no server is remembered")?,
            (_, Some(Remembered { server, age_seconds, used })) => {
                let used = if *used { "" } else { ", which is not used" };
                writeln!(f, "server {server} is remembered, from {age_seconds} s ago{used}")?;
            }
        }
        writeln!(f, "servers are chosen by {}", self.algorithm)
    }

    fn write_after_servers(&self, f: &mut String) -> fmt::Result {
        if let Some(QueueState { ahead, max }) = self.queue {
            if ahead < max {
                let connections = if ahead == 1 { "connection" } else { "connections" };
                return writeln!(
                    f,
                    "it would wait in the queue, behind {ahead} {connections} (queue_max {max})"
                );
            }
            let wait = if ahead == 1 { "connection waits" } else { "connections wait" };
            writeln!(f, "the queue is full: {ahead} {wait} (queue_max {max})")?;
        }
        match &self.choice {
            // What has failed is tried again where nothing is left to lose.
            Some(choice) if choice.is_last_resort => {
                writeln!(f, "it would get {} all the same: no other can serve it", choice.name)
            }
            Some(choice) => writeln!(f, "it would get {}", choice.name),
            None if self.admission == "tarpit" => writeln!(f, "it would be held"),
            None => writeln!(f, "it would be closed"),
        }
    }
}

impl Candidates {
    /// These servers of `snapshot` as the client may have them at `now`.
    pub fn judge(&self, servers: &[Arc<Backend>], snapshot: &Arc<Snapshot>, now: Millis) -> Vec<Candidate> {
        let mut judge = CandidateJudge::new(self, snapshot);
        servers.iter().map(|backend| judge.judge(backend, now)).collect()
    }
}

impl Candidate {
    /// Nothing speaks against it.
    fn can_serve(&self) -> bool {
        self.obstacles.is_empty()
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verdict, reasons) =
            if self.can_serve() { ("can serve", &self.merits) } else { ("cannot serve", &self.obstacles) };
        let separator = if reasons.is_empty() { "" } else { ": " };
        write!(f, "{} {verdict}{separator}{}", self.name, reasons.join(", "))
    }
}

impl Selection {
    /// The queue, for a search that has not begun and finds every server full that could serve the client.
    fn queue(&self, now: Millis) -> Option<QueueState> {
        let snapshot = &*self.snapshot;
        let is_full =
            self.admission() == Admission::Admit && self.peek_regular(now).is_none() && self.is_held_up(now);
        let queue = QueueState { ahead: snapshot.wakeup.waiting(), max: snapshot.queue_max };
        (is_full && queue.max > 0).then_some(queue)
    }

    /// The server that [`Selection::next`] would return, for a search that has not begun.
    fn peek(&self, now: Millis) -> Option<&Arc<Backend>> {
        let snapshot = &*self.snapshot;
        let works = |backend: &&Arc<Backend>| !backend.addresses.is_empty();
        match self.admission() {
            Admission::Refuse | Admission::Tarpit => return None,
            Admission::Abuse => return snapshot.abuse.as_ref().filter(works),
            Admission::Admit => {}
        }
        let stubborn = snapshot.policy.stubborn;
        let found = self.peek_regular(now);
        let emergency = || snapshot.emergency.as_ref().filter(works);
        let slot = |n: usize| snapshot.backends.get(n)?.as_ref();
        match found {
            Some(n) => slot(n),
            None if stubborn => None,
            None => emergency().or_else(|| slot(self.first_to_return(now, &NumberSet::default())?)),
        }
    }

    /// The same, of the servers that have a number.
    fn peek_regular(&self, now: Millis) -> Option<usize> {
        let stubborn = self.snapshot.policy.stubborn;
        match self.first_choice(now) {
            Some(n) if self.can_attempt(n, now) => Some(n),
            Some(n) if stubborn => Some(n).filter(|n| self.can_retry(*n, now)),
            choice => {
                let found = self.candidate(now, choice, &NumberSet::default());
                found.or_else(|| self.first_to_return(now, &NumberSet::default()).filter(|_| stubborn))
            }
        }
    }
}

/// Judges servers of one snapshot.
struct CandidateJudge<'a> {
    candidates: &'a Candidates,
    search: Selection,
    /// The verdicts of access lists so far: a list may be long, and most servers have the same.
    verdicts: HashMap<usize, ListVerdict>,
}

impl<'a> CandidateJudge<'a> {
    fn new(candidates: &'a Candidates, snapshot: &Arc<Snapshot>) -> Self {
        let Candidates { client, port, known, admission, .. } = *candidates;
        let search = Selection::new(Arc::clone(snapshot), client, port, known, admission);
        CandidateJudge { candidates, search, verdicts: HashMap::new() }
    }

    /// The state of `backend` for this client.
    fn judge(&mut self, backend: &Backend, now: Millis) -> Candidate {
        let search = &self.search;
        let snapshot = &*search.snapshot;
        let stats = &backend.stats;
        let mut obstacles = Vec::new();
        let mut merits = Vec::new();
        if backend.addresses.is_empty() {
            obstacles
                .push(if backend.port == 0 { "it has no port" } else { "its name has no address" }.into());
        }
        match backend.role {
            Role::Emergency if snapshot.policy.stubborn => {
                obstacles.push("pen does not use it (stubborn)".into());
            }
            Role::Abuse if search.admission() != Admission::Abuse => {
                obstacles.push("it is for clients that client_acl denies".into());
            }
            _ => {}
        }
        if let Some(n) = backend.role.slot() {
            if let Some(own) = search.first_choice(now).filter(|own| snapshot.policy.stubborn && *own != n) {
                obstacles.push(format!("the client gets no other than server {own} (stubborn)"));
            }
            let failure = stats.last_failure().map(|reason| format!(": {reason}")).unwrap_or_default();
            match stats.standing(now) {
                Standing::Clear => {}
                Standing::Due => {
                    merits.push(format!("it failed, and this connection would try it again{failure}"));
                }
                Standing::Trial => {
                    obstacles.push(format!("it failed, and another connection tries it again{failure}"));
                }
                Standing::Failed(until) => {
                    let seconds = left(until, now);
                    obstacles.push(format!("it failed, and stays blacklisted for {seconds} s{failure}"));
                }
                Standing::Ordered(until) => {
                    obstacles.push(format!("a command has blacklisted it for {} s", left(until, now)));
                }
            }
            let reason = || match stats.last_check() {
                Some(last) => last.reason.clone(),
                None => "no result yet".into(),
            };
            match stats.health() {
                Health::Unchecked => {}
                Health::Unknown => {
                    merits.push("its check has no result yet: those that are up go first".into())
                }
                Health::Up => merits.push(format!("its check finds it up: {}", reason())),
                Health::Down => obstacles.push(format!("its check finds it down: {}", reason())),
            }
            if !search.state_permits(n, backend) {
                obstacles.push(match backend.admin_state {
                    AdminState::Drain => {
                        "it drains (state drain), and the client did not have it before".into()
                    }
                    state => format!("it is out of service (state {})", state.word()),
                });
            }
            let verdict = self
                .verdicts
                .entry(backend.acl)
                .or_insert_with(|| ListVerdict::of(&snapshot.acls, backend.acl, search.client));
            if !verdict.permitted {
                obstacles.push(verdict.to_string());
            }
            let connections = stats.connections();
            let share = stats.share(now, snapshot.slowstart);
            if share < WHOLE {
                merits.push(format!(
                    "it is in slow start, and takes {} % of its share (slowstart)",
                    share / 10
                ));
            }
            match search.limit(n, backend, now) {
                Some(limit) if connections >= limit => {
                    obstacles.push(format!("it has {connections} of {limit} connections"));
                }
                Some(limit) => merits.push(format!("{connections} of {limit} connections")),
                None => merits.push(format!("{connections} connections")),
            }
            let own = search.remembered == Some(n);
            if own {
                merits.push("the client had it before".into());
            }
            match snapshot.policy.algorithm {
                Algorithm::Prio => merits.push(format!("prio {}", backend.prio)),
                Algorithm::Weight if backend.weight == 0 && !own => obstacles.push("its weight is 0".into()),
                Algorithm::Weight => merits.push(format!("weight {}", backend.weight)),
                Algorithm::Hash if self.candidates.hashed == Some(n) => {
                    merits.push("the client's hash names it".into());
                }
                Algorithm::RoundRobin if snapshot.cursor.load(Relaxed) == n => {
                    merits.push("it was chosen last".into());
                }
                Algorithm::Hash | Algorithm::RoundRobin => {}
            }
        }
        Candidate {
            server: backend.role.slot(),
            name: backend.to_string(),
            state: ServerState::of(backend, now),
            merits,
            obstacles,
        }
    }
}

/// Seconds from `now` until then, rounded up.
fn left(until: Millis, now: Millis) -> Millis {
    until.saturating_sub(now).div_ceil(1000)
}

/// The choice as a role, for tests of the search.
#[cfg(test)]
impl Selection {
    pub(super) fn peeked(&self, now: Millis) -> Option<crate::core::snapshot::Role> {
        self.peek(now).map(|backend| backend.role)
    }
}
