//! A seeded simulation of health, limits and the queue, beside a model that is simple enough to be seen to be right: for every
//! server a count, and for every client whether it may have that server.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Poll, Wake, Waker};

use super::*;
use crate::core::addr::Services;
use crate::core::admission::Admission;
use crate::core::affinity::Client;
use crate::core::backend::{ServerStats, Standing};
use crate::core::command::Command;
use crate::core::config::{Config, Phase};
use crate::core::health::{Health, Monitor};
use crate::core::select::waiting::View;
use crate::core::select::{SearchStep, Selected, Selection};
use crate::core::settings::AdminState;
use crate::core::snapshot::{Backend, Resolved, Role, Snapshot, StatsTable};

const SERVERS: usize = 5;
const QUEUE_MAX: usize = 12;
const PATIENCE: Millis = 4_000;

/// SplitMix64 (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}

/// Which server: it is another one after it was removed.
type ServerId = *const ServerStats;

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

/// What the model knows of a client.
#[derive(Clone)]
struct ModelClient {
    client: Client,
    remembered: Option<ServerId>,
    tried: BTreeSet<ServerId>,
}

struct Waiting<'a> {
    model: ModelClient,
    position: QueuePosition<'a, Selection>,
    woken: Arc<Woken>,
    end: Millis,
    again: Option<Millis>,
}

struct Served<'a> {
    model: ModelClient,
    selection: Selection,
    selected: Selected,
    /// Of one that has waited, until its server has accepted it.
    position: Option<QueuePosition<'a, Selection>>,
}

struct Simulation<'a> {
    random: Random,
    now: Millis,
    services: Services,
    config: Config,
    live: StatsTable,
    snapshot: Arc<Snapshot>,
    monitor: Monitor,
    /// Whether the servers work, as their checks find it.
    works: [bool; SERVERS],
    queue: &'a Queue<Selection>,
    waiting: BTreeMap<u64, Waiting<'a>>,
    served: Vec<Served<'a>>,
    /// Every server that there ever was, so that no two have one address.
    known: Vec<Arc<ServerStats>>,
    /// How often each of the things that are to be seen has been.
    seen: BTreeMap<&'static str, usize>,
}

fn stats(backend: &Backend) -> ServerId {
    Arc::as_ptr(&backend.stats)
}

impl<'a> Simulation<'a> {
    fn new(
        seed: u64,
        live: StatsTable,
        config: Config,
        snapshot: Arc<Snapshot>,
        queue: &'a Queue<Selection>,
    ) -> Self {
        let mut simulation = Simulation {
            random: Random(seed),
            now: 1,
            services: Services::default(),
            config,
            live,
            snapshot,
            monitor: Monitor::new(seed),
            works: [true; SERVERS],
            queue,
            waiting: BTreeMap::new(),
            served: Vec::new(),
            known: Vec::new(),
            seen: BTreeMap::new(),
        };
        simulation.publish();
        simulation
    }

    fn saw(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    fn view(&self) -> View {
        View { snapshot: Arc::clone(&self.snapshot), now: self.now }
    }

    fn command(&mut self, line: &str) {
        let command = Command::parse(line, &self.services).unwrap().unwrap();
        if let Command::NoServer(server) = &command
            && let Some(backend) =
                self.config.slot(server).and_then(|n| self.snapshot.backend(Role::Regular(n)))
        {
            let backend = Arc::clone(backend);
            self.live.remove(backend.role.slot().unwrap(), Arc::clone(&backend));
            backend.stats.remove();
        }
        self.config.apply(&command, Phase::Running).unwrap();
    }

    fn publish(&mut self) {
        self.snapshot = Arc::new(Snapshot::new(&self.config, &mut self.live, &Resolved::new()));
        let new = |b: &&Arc<Backend>| !self.known.iter().any(|known| Arc::ptr_eq(known, &b.stats));
        let new: Vec<_> =
            self.snapshot.backends.iter().flatten().filter(new).map(|b| Arc::clone(&b.stats)).collect();
        self.known.extend(new);
        let checked = self.snapshot.backends.iter().flatten();
        let rules =
            checked.filter_map(|b| Some((b.role.slot()?, b.stats.period(), b.check.as_ref()?.config.rule())));
        self.monitor.configure(rules, self.now);
        self.snapshot.wakeup.changes(|| ());
    }

    /// Whether the client may have the server, if that has room and is not on the blacklist.
    fn may_have(&self, model: &ModelClient, backend: &Backend) -> bool {
        let own = model.remembered == Some(stats(backend));
        let state = match backend.admin_state {
            AdminState::Ready => true,
            AdminState::Drain => own,
            AdminState::Maint => false,
        };
        state
            && !model.tried.contains(&stats(backend))
            && backend.stats.health() != Health::Down
            && self.snapshot.acls[backend.acl].permits(model.client.ip())
    }

    /// The same of a server with room.
    fn suits(&self, model: &ModelClient, backend: &Backend) -> bool {
        let standing = backend.stats.standing(self.now);
        matches!(standing, Standing::Clear | Standing::Due) && self.may_have(model, backend)
    }

    fn limit(model: &ModelClient, backend: &Backend) -> u32 {
        let own = model.remembered == Some(stats(backend));
        if own { backend.max.max(backend.hard) } else { backend.max }
    }

    /// Connections of the server, by the model.
    fn count(&self, server: ServerId) -> u32 {
        self.served.iter().filter(|served| stats(&served.selected.backend) == server).count() as u32
    }

    /// A client has been given a server: nobody who came before it could have had that.
    fn take(
        &mut self,
        model: ModelClient,
        selection: Selection,
        selected: Selected,
        position: Option<QueuePosition<'a, Selection>>,
    ) {
        let arrival = position.as_ref().map(|position| position.number);
        let backend = Arc::clone(&selected.backend);
        if backend.role.slot().is_some() {
            assert!(self.may_have(&model, &backend), "{backend} is not for {:?}", model.client.ip());
            let limit = Self::limit(&model, &backend);
            assert!(backend.max == 0 || self.count(stats(&backend)) < limit, "{backend} has too many");
            let before =
                self.waiting.iter().filter(|(other, _)| arrival.is_none_or(|arrival| **other < arrival));
            for (_, other) in before {
                let overtaken =
                    self.suits(&other.model, &backend) && Self::limit(&other.model, &backend) >= limit;
                assert!(!overtaken, "{:?} is overtaken", other.model.client.ip());
            }
        }
        self.served.push(Served { model, selection, selected, position });
    }

    /// A client looks for a server, and waits where it may.
    fn search(
        &mut self,
        mut model: ModelClient,
        mut selection: Selection,
        position: Option<QueuePosition<'a, Selection>>,
    ) {
        if !selection.wants_regular() || self.queue.waiting() == 0 {
            match selection.step(self.now) {
                SearchStep::Server(selected) => {
                    self.saw("served at once");
                    return self.take(model, selection, selected, position);
                }
                SearchStep::None => return self.saw("no server"),
                SearchStep::Full => {}
            }
        }
        // As the search does that follows the configuration in force.
        let known: BTreeSet<ServerId> = self.snapshot.backends.iter().flatten().map(|b| stats(b)).collect();
        model.tried.retain(|server| known.contains(server));
        model.remembered = model.remembered.filter(|server| known.contains(server));
        let woken = Arc::<Woken>::default();
        let waker = Waker::from(Arc::clone(&woken));
        let position = match position {
            Some(mut position) => {
                if !position.wait(selection, QUEUE_MAX, &waker, || self.view()) {
                    return self.saw("no seat to come back to");
                }
                self.saw("waits again");
                position
            }
            None => match self.queue.join(selection, QUEUE_MAX, &waker, || self.view()) {
                Some(position) => position,
                None => return self.saw("queue full"),
            },
        };
        woken.0.store(true, Relaxed);
        let waiting = Waiting { model, position, woken, end: self.now + PATIENCE, again: None };
        self.waiting.insert(waiting.position.number, waiting);
        self.saw("waits");
    }

    /// Runs whoever is woken, in any order, until nobody is.
    fn settle(&mut self) {
        let given = self.run_woken();
        // They were given their places in order of arrival.
        for Served { model, selection, selected, position } in given.into_values() {
            self.saw("served after a wait");
            self.take(model, selection, selected, position);
        }
    }

    fn run_woken(&mut self) -> BTreeMap<u64, Served<'a>> {
        let mut given = BTreeMap::new();
        loop {
            let due = |w: &Waiting<'_>| w.woken.0.load(Relaxed) || w.again.is_some_and(|at| at <= self.now);
            let woken: Vec<u64> = self.waiting.iter().filter(|(_, w)| due(w)).map(|(at, _)| *at).collect();
            if woken.is_empty() {
                return given;
            }
            let arrival = woken[self.random.below(woken.len())];
            let mut waiting = self.waiting.remove(&arrival).unwrap();
            waiting.woken.0.store(false, Relaxed);
            let waker = Waker::from(Arc::clone(&waiting.woken));
            match waiting.position.poll(&waker, || self.view(), &mut waiting.again) {
                Poll::Pending => {
                    assert!(waiting.again.is_none_or(|at| at > self.now));
                    self.waiting.insert(arrival, waiting);
                }
                Poll::Ready((selection, Some(selected))) => {
                    let Waiting { model, position, .. } = waiting;
                    given.insert(arrival, Served { model, selection, selected, position: Some(position) });
                }
                Poll::Ready((_, None)) => {
                    let held = |b: &Arc<Backend>| b.max != 0 && self.suits(&waiting.model, b);
                    assert!(
                        !self.snapshot.backends.iter().flatten().any(held),
                        "there is something to wait for"
                    );
                    self.saw("nothing to wait for");
                }
            }
        }
    }

    /// What holds whenever nobody is about to do something.
    fn check(&self) {
        for backend in self.snapshot.backends.iter().flatten() {
            assert_eq!(backend.stats.connections(), self.count(stats(backend)), "{backend}");
            for waiting in self.waiting.values() {
                let free =
                    backend.max == 0 || backend.stats.connections() < Self::limit(&waiting.model, backend);
                let forgotten = free && self.suits(&waiting.model, backend);
                assert!(
                    !forgotten,
                    "{:?} waits, and {backend} has a place: {:?}",
                    waiting.model.client.ip(),
                    backend.stats
                );
            }
        }
        assert_eq!(self.queue.waiting(), self.waiting.len());
        assert!(self.waiting.len() <= QUEUE_MAX);
    }

    fn run_checks(&mut self) {
        while let Some(due) = self.monitor.begin(self.now) {
            let change = self.monitor.finish(due, Some(self.works[due.server]), self.now);
            let Some(backend) = self.snapshot.backend(Role::Regular(due.server)) else { continue };
            if self.works[due.server] {
                backend.stats.works();
            }
            if let Some(health) = change {
                backend.stats.set_health(health, self.now);
            }
        }
    }

    fn one_event(&mut self) {
        match self.random.below(100) {
            0..40 => {
                let client = Client::new([0, 0, 0, self.random.below(6) as u8].into());
                let last = self.random.below(2 * SERVERS);
                let last = self.snapshot.backend(Role::Regular(last)).map(|b| (last, stats(b)));
                let snapshot = Arc::clone(&self.snapshot);
                let selection = Selection::new(snapshot, client, 0, last.map(|(n, _)| n), Admission::Admit);
                let model = ModelClient { client, remembered: last.map(|(_, s)| s), tried: BTreeSet::new() };
                self.search(model, selection, None);
            }
            40..50 => self.served.iter_mut().for_each(|served| served.position = None),
            50..72 if !self.served.is_empty() => {
                let at = self.random.below(self.served.len());
                drop(self.served.swap_remove(at));
            }
            72..77 if !self.served.is_empty() => {
                // The connect fails, and the client goes on to the next server.
                let at = self.random.below(self.served.len());
                let Served { mut model, selection, selected, position } = self.served.swap_remove(at);
                selection.failed(&selected, self.now);
                model.tried.insert(stats(&selected.backend));
                drop(selected);
                self.settle();
                self.search(model, selection, position);
            }
            77..82 if !self.waiting.is_empty() => {
                let at = self.random.below(self.waiting.len());
                let arrival = *self.waiting.keys().nth(at).unwrap();
                drop(self.waiting.remove(&arrival));
            }
            82..84 => {
                let n = self.random.below(SERVERS);
                self.works[n] = !self.works[n];
            }
            84..86 => {
                let n = self.random.below(SERVERS);
                let change = match self.random.below(6) {
                    0 => format!("server {n} state {}", ["ready", "drain", "maint"][self.random.below(3)]),
                    1 => format!("server {n} acl {}", self.random.below(3)),
                    2 if self.snapshot.backend(Role::Regular(n)).is_some() => format!("no server {n}"),
                    3 => format!("server {n} hard {}", self.random.below(6)),
                    _ => format!(
                        "server {n} address 10.0.0.{n} port 80 weight 1 max {}",
                        1 + self.random.below(4)
                    ),
                };
                self.command(&change);
                self.publish();
            }
            _ => {
                self.now += self.random.below(400) as Millis;
                self.run_checks();
                let now = self.now;
                let before = self.waiting.len();
                self.settle();
                self.waiting.retain(|_, waiting| waiting.end > now);
                if self.waiting.len() < before {
                    self.saw("waited for too long");
                }
            }
        }
    }
}

fn simulate(seed: u64, events: usize, mode: &str) -> BTreeMap<&'static str, usize> {
    let services = Services::default();
    let mut config = Config::default();
    let mut lines: Vec<String> = (0..SERVERS)
        .map(|n| format!("server {n} address 10.0.0.{n} port 80 max {} hard 4 weight 1 check c", 1 + n % 3))
        .collect();
    lines.insert(0, "check c every 1 fall 2 rise 2".into());
    lines.extend(["acl 1 deny 0.0.0.1", "acl 1 deny 0.0.0.2", "acl 2 permit 0.0.0.3", mode].map(Into::into));
    lines.push("blacklist 2".into());
    for line in lines {
        config.apply(&Command::parse(&line, &services).unwrap().unwrap(), Phase::Start).unwrap();
    }
    let mut live = StatsTable::default();
    let snapshot = Arc::new(Snapshot::new(&config, &mut live, &Resolved::new()));
    let queue = Queue::new(Arc::clone(&snapshot.wakeup));
    let mut simulation = Simulation::new(seed, live, config, snapshot, &queue);
    for _ in 0..events {
        simulation.one_event();
        simulation.settle();
        simulation.check();
    }
    std::mem::take(&mut simulation.seen)
}

const MODES: [&str; 4] = ["no hash", "hash", "prio", "weight"];

fn simulate_all(events: usize) {
    for (seed, mode) in (1..).zip(MODES) {
        let seen = simulate(seed, events / MODES.len(), mode);
        let what = [
            "served at once",
            "served after a wait",
            "no server",
            "queue full",
            "waits again",
            "nothing to wait for",
            "waited for too long",
        ];
        assert!(what.iter().all(|what| seen.contains_key(what)), "{mode}: {seen:?}");
    }
}

#[test]
fn nobody_is_forgotten_or_overtaken() {
    simulate_all(40_000);
}

#[test]
#[ignore = "a minute: part of make soak"]
fn nobody_is_forgotten_or_overtaken_in_a_million_events() {
    simulate_all(1_000_000);
}
