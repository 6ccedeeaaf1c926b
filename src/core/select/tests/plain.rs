//! The rules as they are written, each applied to every server, compared with the search that looks at few.

use super::*;
use crate::core::backend::{PER_WORD, WHOLE};
use crate::core::queue::Waiter;

/// What [`Selection::candidate`] has to find.
fn plain_candidate(search: &Selection, now: Millis, after: Option<usize>, lost: &NumberSet) -> Option<usize> {
    let known = |n: usize, b: &Backend| !lost.contains(n) && b.stats.health() != Health::Unknown;
    let unknown = |n: usize, b: &Backend| !lost.contains(n) && b.stats.health() == Health::Unknown;
    let slow = search.snapshot.slowstart > 0 && search.remembered.is_none();
    let warm = slow
        .then(|| plain_rule(search, now, after, &|n, b| known(n, b) && search.is_warm_enough(b, now)))
        .flatten();
    warm.or_else(|| plain_rule(search, now, after, &known))
        .or_else(|| plain_rule(search, now, after, &unknown))
}

fn plain_rule(
    search: &Selection,
    now: Millis,
    after: Option<usize>,
    eligible: &dyn Fn(usize, &Backend) -> bool,
) -> Option<usize> {
    let snapshot = &search.snapshot;
    let of = |n: usize| snapshot.backends[n].as_ref();
    let count = snapshot.backends.len();
    let usable = |n: &usize| {
        !search.tried.contains(*n)
            && search.is_on_route(*n)
            && of(*n).is_some_and(|b| eligible(*n, b) && search.is_available(*n, b, now))
    };
    let all = || (0..count).filter(usable).filter_map(|n| Some((n, of(n)?)));
    let turn = |b: &Backend| snapshot.turns.begin().place(&b.stats);
    let found = match snapshot.policy.algorithm {
        Algorithm::Prio => all().min_by_key(|(_, b)| (b.prio, turn(b))),
        Algorithm::Weight => all().min_by(|(_, a), (_, b)| {
            let load = |x: &Backend, y: &Backend| u64::from(x.stats.connections()) * u64::from(y.weight);
            load(a, b).cmp(&load(b, a)).then_with(|| turn(a).cmp(&turn(b)))
        }),
        Algorithm::Hash => all().max_by_key(|(_, b)| hash::score(b.identity, search.key)),
        Algorithm::RoundRobin => {
            let last = after.unwrap_or_else(|| snapshot.cursor.load(Relaxed));
            let order = (1..=count).map(|step| last.wrapping_add(step) % count);
            return order.into_iter().find(usable);
        }
    };
    found.map(|(n, _)| n)
}

fn untried(search: &Selection) -> impl Iterator<Item = (usize, &Arc<Backend>)> {
    let all = search.snapshot.backends.iter().enumerate().filter_map(|(n, b)| Some((n, b.as_ref()?)));
    all.filter(|(n, _)| search.is_untried(*n))
}

fn plain_held_up(search: &Selection, now: Millis) -> bool {
    let only = search.first_choice(now).filter(|_| search.snapshot.policy.stubborn);
    untried(search).any(|(n, b)| {
        let held = b.max != 0 && b.stats.standing(now).may_be_tried() && search.serves_with_room(n, b);
        only.is_none_or(|only| only == n) && held
    })
}

fn plain_first_to_return(search: &Selection, now: Millis, lost: &NumberSet) -> Option<usize> {
    let end = |b: &Backend| match b.stats.standing(now) {
        Standing::Failed(until) => Some(until),
        Standing::Trial => Some(0),
        _ => None,
    };
    let all = untried(search).filter(|(n, b)| !lost.contains(*n) && search.may_serve(*n, b, now));
    all.filter_map(|(n, b)| Some((end(b)?, n))).min().map(|(_, n)| n)
}

fn plain_why_none(search: &Selection, now: Millis) -> NoServer {
    let policy = search.snapshot.policy;
    let all = search.snapshot.backends.iter().flatten();
    let usable: Vec<_> = all
        .filter(|b| b.admin_state == AdminState::Ready && b.stats.health() != Health::Down)
        .filter(|b| policy.algorithm != Algorithm::Weight || b.weight > 0)
        .filter(|b| !b.addresses.is_empty() && b.stats.standing(now).may_be_tried())
        .collect();
    let all_tried = search.route.is_none() && !policy.stubborn && !search.tried.is_empty();
    if all_tried || usable.is_empty() {
        NoServer::Down
    } else if usable.iter().all(|b| b.max != 0 && b.stats.connections() >= b.max) {
        NoServer::Full
    } else {
        NoServer::ForClient
    }
}

/// Those of the servers that a place or a time may come from.
fn plain_places(view: &waiting::View) -> impl Iterator<Item = &Arc<Backend>> {
    let all = view.snapshot.backends.iter().flatten();
    all.filter(|b| b.admin_state != AdminState::Maint && !b.addresses.is_empty())
}

fn plain_has_room(view: &waiting::View) -> bool {
    plain_places(view).any(|b| {
        let works = b.stats.standing(view.now).may_be_tried() && b.stats.health() != Health::Down;
        works && (b.max == 0 || b.stats.connections() < b.max.max(b.hard))
    })
}

fn plain_next_change(view: &waiting::View) -> Option<Millis> {
    let of = |b: &Arc<Backend>| match b.stats.standing(view.now) {
        Standing::Failed(until) | Standing::Ordered(until) => Some(until),
        _ => (b.stats.share(view.now, view.snapshot.slowstart) < WHOLE).then_some(view.now + 100),
    };
    plain_places(view).filter_map(of).min()
}

/// What happens between two searches.
#[derive(Debug, Clone)]
enum Change {
    /// One of the connections that were given out is closed.
    Close(prop::sample::Index),
    /// One of the connections from before, of a server.
    Release(prop::sample::Index),
    Health(prop::sample::Index, Health),
    Works(prop::sample::Index),
    Fails(prop::sample::Index, Millis),
    Order(prop::sample::Index, Millis),
    Wait(Millis),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<prop::sample::Index>;
    let health = prop::sample::select(vec![Health::Unchecked, Health::Unknown, Health::Up, Health::Down]);
    prop_oneof![
        at().prop_map(Change::Close),
        at().prop_map(Change::Release),
        (at(), health).prop_map(|(at, health)| Change::Health(at, health)),
        at().prop_map(Change::Works),
        (at(), 0u64..2000).prop_map(|(at, time)| Change::Fails(at, time)),
        (at(), 0u64..2000).prop_map(|(at, time)| Change::Order(at, time)),
        (0u64..1000).prop_map(Change::Wait),
    ]
}

/// The state of a server before a search.
#[derive(Debug, Clone)]
struct InitialState {
    connections: u32,
    turns: usize,
    health: Option<Health>,
    rises: bool,
    failed: Option<Millis>,
    ordered: Option<Millis>,
}

fn state() -> impl Strategy<Value = InitialState> {
    let health = prop::option::of(prop::sample::select(vec![Health::Unknown, Health::Up, Health::Down]));
    let until = || prop::option::weighted(0.2, 0u64..3000);
    (0u32..4, 0usize..3, health, any::<bool>(), until(), until()).prop_map(
        |(connections, turns, health, rises, failed, ordered)| InitialState {
            connections,
            turns,
            health,
            rises,
            failed,
            ordered,
        },
    )
}

fn many_lines() -> impl Strategy<Value = Vec<String>> {
    let state = prop::sample::select(vec!["ready", "ready", "ready", "ready", "drain", "maint"]);
    let server = (0u16..6, 0u32..6, 0u32..6, 0u32..4, 0u32..3, 0usize..3, state).prop_map(
        |(port, max, hard, weight, prio, acl, state)| {
            format!("port {port} max {max} hard {hard} weight {weight} prio {prio} acl {acl} state {state}")
        },
    );
    let modes = prop::sample::subsequence(
        vec!["roundrobin", "prio", "weight", "hash", "stubborn", "nomemory", "slowstart 1"],
        0..=3,
    );
    // Some have the same address, and so the same hash.
    (prop::collection::vec((server, 0u8..30), 1..40), modes).prop_map(|(servers, modes)| {
        let servers = servers.iter().enumerate();
        let servers = servers.map(|(n, (keys, host))| format!("server {n} address 10.0.0.{host} {keys}"));
        let rest = ["acl 1 deny 0.0.0.1", "acl 1 deny 0.0.0.2", "acl 2 permit 0.0.0.3"];
        servers.chain(modes.into_iter().chain(rest).map(str::to_owned)).collect()
    })
}

proptest! {
    #[test]
    fn a_search_that_looks_at_few_servers_finds_what_the_rule_says(
        lines in many_lines(),
        states in prop::collection::vec(state(), 40),
        clients in prop::collection::vec((0u32..6, prop::option::of(0usize..42), 0usize..5), 1..20),
        changes in prop::collection::vec(prop::collection::vec(change(), 0..4), 20),
        route in prop::option::of(prop::collection::vec(0usize..40, 1..20)),
        lost in prop::collection::vec(0usize..40, 0..3),
    ) {
        let mut live = StatsTable::default();
        let snapshot = snapshot(&mut live, &lines);
        for (backend, state) in snapshot.backends.iter().flatten().zip(&states) {
            let stats = &backend.stats;
            (0..state.connections).for_each(|_| _ = stats.acquire(None));
            (0..state.turns).for_each(|_| snapshot.turns.take(stats, backend.weight));
            if state.rises {
                stats.set_health(Health::Down, 1);
            }
            state.health.into_iter().for_each(|health| stats.set_health(health, 500));
            state.failed.into_iter().for_each(|time| _ = stats.fails(1, time, 1));
            state.ordered.into_iter().for_each(|until| stats.blacklist_until(until));
        }
        let route = route.map(|slots| {
            let mut route = NumberSet::default();
            slots.into_iter().for_each(|n| route.insert(n));
            Arc::new(route)
        });
        let mut others = NumberSet::default();
        lost.into_iter().for_each(|n| others.insert(n));
        let (mut now, mut open) = (1000, Vec::new());
        for ((who, remembered, failures), changes) in clients.into_iter().zip(changes) {
            let servers = snapshot.backends.iter().flatten().collect::<Vec<_>>();
            for change in changes {
                let stats = |at: prop::sample::Index| &servers[at.index(servers.len())].stats;
                match change {
                    Change::Close(_) if open.is_empty() => {}
                    Change::Close(at) => _ = open.swap_remove(at.index(open.len())),
                    Change::Release(at) if stats(at).connections() == 0 => {}
                    Change::Release(at) => stats(at).release(),
                    Change::Health(at, health) => stats(at).set_health(health, now),
                    Change::Works(at) => _ = stats(at).works(),
                    Change::Fails(at, time) => _ = stats(at).fails(now, time, 1),
                    Change::Order(at, time) => stats(at).blacklist_until(if time == 0 { 0 } else { now + time }),
                    Change::Wait(time) => now += time,
                }
            }
            let view = waiting::View { snapshot: Arc::clone(&snapshot), now };
            prop_assert_eq!(<Selection as Waiter>::has_room(&view), plain_has_room(&view));
            prop_assert_eq!(<Selection as Waiter>::next_change(&view), plain_next_change(&view));
            let mut search = search(&snapshot, client(who), remembered);
            route.iter().for_each(|route| search.restrict(route));
            for _ in 0..=failures {
                let after = if let Stage::After(last) = search.stage { Some(last) } else { None };
                for lost in [&NumberSet::default(), &others] {
                    let wanted = plain_candidate(&search, now, after, lost);
                    prop_assert_eq!(search.candidate(now, after, lost), wanted);
                }
                prop_assert_eq!(search.is_held_up(now), plain_held_up(&search, now));
                prop_assert_eq!(search.first_to_return(now, &others), plain_first_to_return(&search, now, &others));
                let in_service = |n: usize, b: &Backend| search.is_in_service(n, b);
                let all = untried(&search).filter(|(n, b)| in_service(*n, b));
                let wanted = all.max_by_key(|(_, b)| hash::score(b.identity, search.key)).map(|(n, _)| n);
                prop_assert_eq!(search.by_hash((Criterion::Up, now), in_service), wanted);
                prop_assert_eq!(search.why_none(now), plain_why_none(&search, now));
                let Some(selected) = search.next(now) else { break };
                search.failed(&selected, now);
                open.push(selected);
            }
        }
    }
}

/// However many servers there are, few are looked at closely: by the hash about as many as the logarithm of their number.
#[test]
fn of_a_thousand_servers_few_are_looked_at_closely() {
    const SERVERS: usize = 1000;
    for rule in ["roundrobin", "prio", "weight", "hash"] {
        let mut live = StatsTable::default();
        let lines = (0..SERVERS)
            .map(|n| format!("server {n} address 10.0.{}.{} port 80 weight 1 prio 1", n / 256, n % 256))
            .chain([rule.to_owned(), "nomemory".to_owned()]);
        let snapshot = snapshot(&mut live, &lines.collect::<Vec<_>>());
        for kept in [0, 700] {
            // Connections that stay, and others that end at once.
            let _open: Vec<_> =
                (0..kept).map(|n| search(&snapshot, client(n * 7919), None).next(1).unwrap()).collect();
            let mut looks = 0;
            for n in 0..2 * SERVERS {
                let mut search = search(&snapshot, client(n as u32 * 977), None);
                let looked = std::cell::Cell::new(0);
                let found = search.candidate_among((Criterion::PlaceForNew, 1), None, |_, _| {
                    looked.set(looked.get() + 1);
                    true
                });
                assert_eq!(found, search.next(1).and_then(|selected| selected.backend.role.slot()), "{rule}");
                looks += looked.get();
            }
            assert!(looks < 10 * 2 * SERVERS, "{rule}: {looks} looks for {} clients", 2 * SERVERS);
        }
    }
}

/// The servers that searches for places still look at.
fn looked_at(snapshot: &Snapshot, criterion: Criterion) -> usize {
    let servers = &snapshot.selectable;
    servers.possible(criterion, 1, 0, |at, out| servers.addressed.word(at) & !out).count()
}

/// However many servers cannot serve, a client does not pay for them: each is looked at once, and then not before it changes.
#[test]
fn servers_that_cannot_serve_are_looked_at_once() {
    const SERVERS: usize = 1000;
    for rule in ["roundrobin", "prio", "weight", "hash"] {
        for state in ["full", "down", "failed", "ordered", "unproven", "drain"] {
            for free in [0, 1] {
                let mut live = StatsTable::default();
                let lines = (0..SERVERS + free).map(|n| {
                    let keys = if n < SERVERS { "max 1 prio 1" } else { "prio 2" };
                    let keys = if n < SERVERS && state == "drain" { "state drain" } else { keys };
                    format!("server {n} address 10.0.{}.{} port 80 weight 1 {keys}", n / 256, n % 256)
                });
                let lines: Vec<_> = lines.chain([rule.to_owned(), "nomemory".to_owned()]).collect();
                let snapshot = snapshot(&mut live, &lines);
                for backend in snapshot.backends.iter().flatten().take(SERVERS) {
                    match state {
                        "full" => assert!(backend.stats.acquire(None)),
                        "down" => backend.stats.set_health(Health::Down, 1),
                        "failed" => assert!(backend.stats.fails(1, 1000, 1)),
                        "ordered" => backend.stats.blacklist_until(1000),
                        "unproven" => backend.stats.set_health(Health::Unknown, 1),
                        _ => {}
                    }
                }
                // One that failed serves as the last resort, and one without a result of its check if no other is left.
                let serves = free == 0 && matches!(state, "failed" | "unproven");
                let expected = (free == 1).then_some(SERVERS);
                let find = |n: u32| match search(&snapshot, client(n), None).step(1) {
                    SearchStep::Server(selected) => selected.backend.role.slot(),
                    SearchStep::Full | SearchStep::None => None,
                };
                let found = find(1);
                assert!(found == expected || serves, "{rule}, {state}: {found:?}");
                assert_eq!(find(2).is_some(), free == 1 || serves, "{rule}, {state}");
                let left = |criterion| looked_at(&snapshot, criterion);
                if state == "drain" {
                    continue;
                }
                // It changed when its connection ended.
                let tried = usize::from(serves);
                assert_eq!(left(Criterion::PlaceForNew), free + tried, "{rule}, {state}");
                if free == 0 && !matches!(state, "full" | "unproven") {
                    assert_eq!(left(Criterion::Working), tried, "{rule}, {state}");
                }
                // One is free again, and found.
                let stats = &snapshot.backends[700].as_ref().unwrap().stats;
                match state {
                    "full" => stats.release(),
                    "down" | "unproven" => stats.set_health(Health::Up, 1),
                    "failed" => assert!(stats.works()),
                    "ordered" => stats.blacklist_until(0),
                    _ => continue,
                }
                assert_eq!(left(Criterion::PlaceForNew), free + tried + 1, "{rule}, {state}");
                let all: HashSet<_> = (0..20).filter_map(find).collect();
                assert!(all.contains(&700), "{rule}, {state}: {all:?}");
            }
        }
    }
}

/// Threads take and free the only places of servers, and find others full at the same time: whoever has a place in the end is
/// not ruled out.
#[test]
fn no_free_place_stays_ruled_out_while_threads_take_and_free_them() {
    const SERVERS: usize = PER_WORD + 8;
    let mut live = StatsTable::default();
    let limits = (0..SERVERS).map(|n| format!("server {n} max 1"));
    let lines: Vec<_> = servers(SERVERS, &["roundrobin"]).into_iter().chain(limits).collect();
    let snapshot = snapshot(&mut live, &lines);
    let find = |n: usize| search(&snapshot, client(n as u32), None).next(1);
    for round in 0..40 {
        std::thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || {
                    for n in 0..30 {
                        let held: Vec<_> = (0..SERVERS / 3).filter_map(|m| find(thread + n + m)).collect();
                        assert!(held.len() <= SERVERS);
                    }
                });
            }
        });
        assert_eq!(looked_at(&snapshot, Criterion::PlaceForNew), SERVERS, "round {round}");
    }
    let held: Vec<_> = (0..SERVERS).filter_map(find).collect();
    assert_eq!(held.len(), SERVERS);
    assert!(find(1).is_none());
}
