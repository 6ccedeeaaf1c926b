//! The rules as they are written, each applied to every server, compared with the search that looks at few.

use super::*;
use crate::core::health::Health;

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
        let (now, mut open) = (1000, Vec::new());
        for (who, remembered, failures) in clients {
            let mut search = search(&snapshot, client(who), remembered);
            route.iter().for_each(|route| search.restrict(route));
            for _ in 0..=failures {
                let after = if let Stage::After(last) = search.stage { Some(last) } else { None };
                for lost in [&NumberSet::default(), &others] {
                    let wanted = plain_candidate(&search, now, after, lost);
                    prop_assert_eq!(search.candidate(now, after, lost), wanted);
                }
                let in_service = |n: usize, b: &Backend| search.is_in_service(n, b);
                let all = search.untried().filter(|(n, b)| in_service(*n, b));
                let wanted = all.max_by_key(|(_, b)| hash::score(b.identity, search.key)).map(|(n, _)| n);
                prop_assert_eq!(search.by_hash(in_service), wanted);
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
                let found = search.candidate_among(1, None, |_, _| {
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
