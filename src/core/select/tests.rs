//! Properties of the selection, and its rules one by one.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::core::addr::Services;
use crate::core::command::Command;
use crate::core::config::{Config, Phase};
use crate::core::health::Health;
use crate::core::settings::AdminState;
use crate::core::snapshot::{Resolved, StatsTable};

mod plain;
mod slow_start;

fn snapshot(live: &mut StatsTable, lines: &[String]) -> Arc<Snapshot> {
    let mut config = Config::default();
    let services = Services::default();
    for line in lines {
        let command = Command::parse(line, &services).unwrap().unwrap();
        config.apply(&command, Phase::Start).unwrap();
    }
    Arc::new(Snapshot::new(&config, live, &Resolved::new()))
}

fn servers(count: usize, rest: &[&str]) -> Vec<String> {
    let servers = (0..count).map(|n| format!("server {n} address 10.0.0.{n} port 80"));
    servers.chain(rest.iter().map(|line| (*line).to_owned())).collect()
}

fn client(n: u32) -> Client {
    Client::new(IpAddr::V4(Ipv4Addr::from(n)))
}

fn search(snapshot: &Arc<Snapshot>, who: Client, remembered: Option<usize>) -> Selection {
    let admission = Admission::of(snapshot, who);
    Selection::new(Arc::clone(snapshot), who, 0, remembered, admission)
}

/// The server that a new client gets while all are up; the connection is closed again.
fn first(snapshot: &Arc<Snapshot>, who: Client, remembered: Option<usize>) -> Option<Role> {
    search(snapshot, who, remembered).next(1).map(|selected| selected.backend.role)
}

/// Whether a server may serve this client, provided that it works.
fn may_serve(snapshot: &Snapshot, b: &Backend, who: Client, own: bool) -> bool {
    let limit = if own { b.max.max(b.hard) } else { b.max };
    let in_service = match b.admin_state {
        AdminState::Ready => true,
        AdminState::Drain => own,
        AdminState::Maint => false,
    };
    in_service
        && snapshot.acls[b.acl].permits(who.ip())
        && !b.addresses.is_empty()
        && (b.max == 0 || b.stats.connections() < limit)
        && (own || snapshot.policy.algorithm != Algorithm::Weight || b.weight > 0)
}

/// A step of a random history.
#[derive(Debug, Clone)]
enum HistoryStep {
    /// A client connects; so many servers fail before one accepts it.
    Connect { who: u32, remembered: Option<usize>, failures: usize },
    /// One of the open connections closes.
    Close(prop::sample::Index),
    /// Time passes.
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<HistoryStep>> {
    let connect = (0u32..6, prop::option::of(0usize..7), 0usize..4)
        .prop_map(|(who, remembered, failures)| HistoryStep::Connect { who, remembered, failures });
    let step = prop_oneof![
        4 => connect,
        2 => any::<prop::sample::Index>().prop_map(HistoryStep::Close),
        1 => (0u64..40_000).prop_map(HistoryStep::Wait),
    ];
    prop::collection::vec(step, 1..60)
}

fn lines() -> impl Strategy<Value = Vec<String>> {
    let state = prop::sample::select(vec!["ready", "ready", "ready", "drain", "maint"]);
    let server = (0u16..3, 0u32..4, 0u32..5, 0u32..3, 0u32..3, 0usize..3, state).prop_map(
        |(port, max, hard, weight, prio, acl, state)| {
            format!("port {port} max {max} hard {hard} weight {weight} prio {prio} acl {acl} state {state}")
        },
    );
    let modes = prop::sample::subsequence(
        vec!["roundrobin", "prio", "weight", "hash", "stubborn", "nomemory"],
        0..=3,
    );
    let special =
        prop::sample::subsequence(vec!["emergency 10.1.0.1:80", "abuse 10.1.0.2:80", "client_acl 3"], 0..=3);
    (prop::collection::vec(server, 1..6), modes, special).prop_map(|(servers, modes, special)| {
        let mut lines: Vec<String> =
            servers.iter().enumerate().map(|(n, s)| format!("server {n} address 10.0.0.{n} {s}")).collect();
        lines.extend(modes.iter().chain(&special).map(|line| (*line).to_owned()));
        lines.extend(
            ["acl 1 deny 0.0.0.1", "acl 1 deny 0.0.0.2", "acl 2 permit 0.0.0.3", "acl 3 deny 0.0.0.4"]
                .map(Into::into),
        );
        lines
    })
}

proptest! {
    #[test]
    fn nobody_gets_a_server_that_must_not_serve_him(lines in lines(), steps in steps()) {
        let mut live = StatsTable::default();
        let snapshot = snapshot(&mut live, &lines);
        let mut open: Vec<Selected> = Vec::new();
        let mut now = 1;
        for step in steps {
            match step {
                HistoryStep::Wait(pause) => now += pause,
                HistoryStep::Close(at) if open.is_empty() => _ = at,
                HistoryStep::Close(at) => _ = open.swap_remove(at.index(open.len())),
                HistoryStep::Connect { who, remembered, failures } => {
                    let who = client(who);
                    let mut selection = search(&snapshot, who, remembered);
                    let mut seen = HashSet::new();
                    let mut failures = failures;
                    let mut emergency = snapshot.emergency.is_none();
                    loop {
                        // The candidates, computed before the selection.
                        let memory = snapshot.policy.affinity;
                        let untried = snapshot.backends.iter().enumerate().filter(|(n, _)| !seen.contains(n));
                        let all: Vec<(usize, Standing)> = untried
                            .filter_map(|(n, b)| Some((n, b.as_ref()?)))
                            .filter(|(n, b)| may_serve(&snapshot, b, who, memory && remembered == Some(*n)))
                            .map(|(n, b)| (n, b.stats.standing(now)))
                            .collect();
                        let free = |s: &Standing| matches!(s, Standing::Clear | Standing::Due);
                        let failed = |s: &Standing| match s {
                            Standing::Failed(until) => Some(*until),
                            Standing::Trial => Some(0),
                            _ => None,
                        };
                        let may_go_on = seen.is_empty() || !snapshot.policy.stubborn;
                        let Some(selected) = selection.next(now) else {
                            let left = all.iter().any(|(_, s)| free(s) || failed(s).is_some());
                            let permitted = snapshot.acls[snapshot.client_acl].permits(who.ip());
                            let stubborn_first = snapshot.policy.stubborn
                                && (memory && remembered.is_some() || snapshot.policy.algorithm == Algorithm::Hash);
                            prop_assert!(
                                !left || !may_go_on || !permitted || stubborn_first,
                                "somebody could have served"
                            );
                            break;
                        };
                        let b = &selected.backend;
                        match b.role {
                            Role::Regular(n) => {
                                prop_assert!(snapshot.acls[snapshot.client_acl].permits(who.ip()));
                                prop_assert!(snapshot.acls[b.acl].permits(who.ip()), "denied by its list");
                                prop_assert!(!b.addresses.is_empty(), "unused");
                                let standing = all.iter().find(|(m, _)| *m == n).map(|(_, s)| *s);
                                prop_assert!(standing.is_some(), "not among those who may serve");
                                if let Some(until) = standing.as_ref().and_then(failed) {
                                    let others = all.iter().filter(|(m, _)| *m != n);
                                    let earlier = |s: &Standing| free(s) || failed(s).is_some_and(|t| t < until);
                                    prop_assert!(
                                        snapshot.policy.stubborn || emergency && !others.clone().any(|(_, s)| earlier(s)),
                                        "blacklisted, and not the last resort"
                                    );
                                }
                                let own = memory && remembered == Some(n);
                                let limit = if own { b.max.max(b.hard) } else { b.max };
                                prop_assert!(b.max == 0 || b.stats.connections() <= limit, "full");
                                prop_assert!(seen.insert(n), "tried twice");
                                prop_assert!(seen.len() == 1 || !snapshot.policy.stubborn, "stubborn tried again");
                                prop_assert!(snapshot.policy.algorithm != Algorithm::Weight || own || b.weight > 0);
                            }
                            Role::Abuse => prop_assert!(!snapshot.acls[snapshot.client_acl].permits(who.ip())),
                            Role::Emergency => {
                                emergency = true;
                                prop_assert!(!all.iter().any(|(_, s)| free(s)), "a server is left");
                                prop_assert!(!snapshot.policy.stubborn);
                                prop_assert!(snapshot.acls[snapshot.client_acl].permits(who.ip()));
                            }
                        }
                        if failures == 0 {
                            b.stats.works();
                            open.push(selected);
                            break;
                        }
                        failures -= 1;
                        selection.failed(&selected, now);
                    }
                }
            }
            for backend in snapshot.backends.iter().flatten() {
                let held = open.iter().filter(|p| p.backend.role == backend.role).count();
                prop_assert_eq!(backend.stats.connections() as usize, held, "the count is not exact");
            }
        }
    }

    /// When a server is removed only its clients move; when one is added only clients that it takes move.
    #[test]
    fn a_change_of_the_set_moves_a_fair_share(count in 2usize..9, gone in any::<prop::sample::Index>()) {
        let lines = servers(count, &["hash", "nomemory"]);
        let mut fewer = lines.clone();
        let gone = gone.index(count);
        fewer[gone] = format!("server {gone} address 10.0.0.{gone} port 0");
        let (mut live, mut live2) = (StatsTable::default(), StatsTable::default());
        let (all, fewer) = (snapshot(&mut live, &lines), snapshot(&mut live2, &fewer));
        let mut moved = 0;
        const CLIENTS: u32 = 2000;
        for n in 0..CLIENTS {
            let who = client(0x7f00_0000 + n * 7);
            let (before, after) = (first(&all, who, None), first(&fewer, who, None));
            if before != after {
                prop_assert_eq!(before, Some(Role::Regular(gone)));
                moved += 1;
            }
        }
        let share = f64::from(CLIENTS) / count as f64;
        prop_assert!(f64::from(moved) < share * 1.3 && f64::from(moved) > share * 0.7, "{moved} of {CLIENTS} moved");
    }
}

fn sequence(snapshot: &Arc<Snapshot>, count: u32) -> Vec<Option<usize>> {
    let regular = |role| if let Role::Regular(n) = role { Some(n) } else { None };
    (0..count).map(|n| first(snapshot, client(n), None).and_then(regular)).collect()
}

#[test]
fn round_robin_begins_with_server_1() {
    let mut live = StatsTable::default();
    let snapshot = snapshot(&mut live, &servers(3, &["roundrobin"]));
    assert_eq!(sequence(&snapshot, 5), [1, 2, 0, 1, 2].map(Some));
    live.server(1).blacklist_until(1000);
    assert_eq!(sequence(&snapshot, 4), [0, 2, 0, 2].map(Some));
}

#[test]
fn a_remembered_client_may_go_up_to_the_hard_limit() {
    let mut live = StatsTable::default();
    let snapshot = snapshot(&mut live, &servers(2, &["server 0 max 1 hard 2", "server 1 max 1"]));
    let get = |remembered| search(&snapshot, client(1), remembered).next(1);
    let held: Vec<Selected> = [Some(0), Some(0), Some(0)].into_iter().filter_map(get).collect();
    assert_eq!(held.iter().map(|p| p.backend.role).collect::<Vec<_>>(), [0, 0, 1].map(Role::Regular));
    assert!(get(Some(0)).is_none() && get(None).is_none());
}

#[test]
fn denied_clients_get_the_abuse_server_alone() {
    let mut live = StatsTable::default();
    let lines = servers(2, &["acl 0 deny 0.0.0.0/0", "emergency 10.9.9.9:1"]);
    assert_eq!(first(&snapshot(&mut live, &lines), client(1), Some(1)), None, "not even emergency");
    let lines = servers(2, &["acl 0 deny 0.0.0.0/0", "abuse 10.9.9.8:1", "emergency 10.9.9.9:1"]);
    let snapshot = snapshot(&mut live, &lines);
    let mut selection = search(&snapshot, client(1), Some(1));
    let selected = selection.next(1).unwrap();
    assert_eq!(selected.backend.role, Role::Abuse);
    selection.failed(&selected, 1);
    assert!(selection.next(1).is_none());
}

/// The servers of clients that all stay connected.
fn held(snapshot: &Arc<Snapshot>, count: u32) -> Vec<Option<usize>> {
    let held: Vec<_> = (0..count).map(|n| search(snapshot, client(n), None).next(1)).collect();
    held.iter().map(|selected| selected.as_ref()?.backend.role.slot()).collect()
}

#[test]
fn weight_shares_connections_out_in_proportion() {
    let mut live = StatsTable::default();
    let weights = ["weight", "server 0 weight 1", "server 1 weight 2", "server 2 weight 3"];
    let weighted = snapshot(&mut live, &servers(4, &weights));
    // The choice of C pen 0.34.1: A B C C B C, twice.
    assert_eq!(held(&weighted, 12), [0, 1, 2, 2, 1, 2, 0, 1, 2, 2, 1, 2].map(Some));
    // Connections that end before the next one begins: each server gets its share of them too.
    let short = sequence(&weighted, 60);
    let count = |server| short.iter().filter(|s| **s == Some(server)).count();
    assert_eq!([0, 1, 2, 3].map(count), [10, 20, 30, 0]);
}

#[test]
fn equals_take_turns() {
    let mut live = StatsTable::default();
    let weights = ["weight", "server 0 weight 7", "server 1 weight 7", "server 2 weight 7"];
    let weighted = snapshot(&mut live, &servers(3, &weights));
    assert_eq!(sequence(&weighted, 6), [0, 1, 2, 0, 1, 2].map(Some));
    let mut live = StatsTable::default();
    let prios = ["prio", "server 0 prio 3", "server 1 prio 1", "server 2 prio 2", "server 3 prio 1"];
    let ranked = snapshot(&mut live, &servers(4, &prios));
    assert_eq!(sequence(&ranked, 5), [1, 3, 1, 3, 1].map(Some));
    assert_eq!(held(&ranked, 4), [3, 1, 3, 1].map(Some));
    live.server(1).blacklist_until(1000);
    assert_eq!(sequence(&ranked, 2), [3, 3].map(Some));
    // A server that is back does not get all that it missed.
    live.server(1).blacklist_until(0);
    let of_first = sequence(&ranked, 20).iter().filter(|s| **s == Some(1)).count();
    assert!((10..=11).contains(&of_first), "{of_first} of 20");
}

/// The servers that a client tries without success, in order.
fn tried(snapshot: &Arc<Snapshot>, who: u32, now: Millis) -> Vec<Role> {
    let mut selection = search(snapshot, client(who), None);
    let mut roles = Vec::new();
    while let Some(selected) = selection.next(now) {
        selection.failed(&selected, now);
        roles.push(selected.backend.role);
    }
    roles
}

#[test]
fn when_nobody_else_is_left_servers_that_failed_are_tried_the_first_to_return_first() {
    let mut live = StatsTable::default();
    let lines = servers(3, &["roundrobin", "emergency 10.9.9.9:1", "blacklist 30"]);
    let snapshot = snapshot(&mut live, &lines);
    assert_eq!(
        tried(&snapshot, 1, 1000),
        [1, 2, 0].map(Role::Regular).into_iter().chain([Role::Emergency]).collect::<Vec<_>>()
    );
    live.server(2).fails(900, 1000, 1);
    live.server(0).fails(900, 2000, 1);
    // A command has priority over failures.
    live.server(1).blacklist_until(100_000);
    let expected = [Role::Emergency, Role::Regular(2), Role::Regular(0)];
    assert_eq!(tried(&snapshot, 1, 1000), expected);
    // A successful connection ends the blacklisting at once.
    let mut selection = search(&snapshot, client(1), None);
    let selected =
        std::iter::from_fn(|| selection.next(1100)).find(|s| s.backend.role == Role::Regular(0)).unwrap();
    assert!(selected.backend.stats.works());
    assert_eq!(first(&snapshot, client(1), None), Some(Role::Regular(0)));
}

#[test]
fn a_stubborn_pen_tries_the_clients_own_server_though_it_failed() {
    for rest in [&["stubborn"][..], &["stubborn", "hash"][..]] {
        let mut live = StatsTable::default();
        let snapshot = snapshot(&mut live, &servers(3, rest));
        let own = first(&snapshot, client(1), None).and_then(Role::slot);
        let remembered = own.filter(|_| rest.len() == 1);
        live.server(own.unwrap()).fails(1, 1000, 1);
        let mut selection = search(&snapshot, client(1), remembered);
        assert_eq!(selection.next(1).map(|s| s.backend.role.slot()), Some(own));
        assert!(selection.next(1).is_none());
        live.server(own.unwrap()).blacklist_until(1000);
        assert!(search(&snapshot, client(1), remembered).next(1).is_none());
    }
}

#[test]
fn when_the_time_is_over_one_connection_tries_the_server() {
    let mut live = StatsTable::default();
    let snapshot = snapshot(&mut live, &servers(2, &["roundrobin"]));
    live.server(1).fails(0, 1000, 1);
    let next = || search(&snapshot, client(1), None).next(1000).unwrap();
    let held = [next(), next(), next()];
    assert_eq!(held.each_ref().map(|s| s.backend.role), [1, 0, 0].map(Role::Regular));
    // The connection ends before it is established: the next one tries.
    drop(held);
    let held = [next(), next()];
    assert_eq!(held.each_ref().map(|s| s.backend.role), [1, 0].map(Role::Regular));
    assert!(held[0].backend.stats.works());
    assert_eq!([next(), next()].map(|s| s.backend.role), [1, 0].map(Role::Regular));
}

#[test]
fn why_there_is_no_server_is_known() {
    let why = |lines: &[&str]| {
        let mut live = StatsTable::default();
        let snapshot = snapshot(&mut live, &servers(2, lines));
        let mut selection = search(&snapshot, client(9), None);
        while let Some(selected) = selection.next(1) {
            selection.failed(&selected, 1);
        }
        selection.why_none(1)
    };
    assert_eq!(why(&["server 0 port 0", "server 1 port 0"]), NoServer::Down);
    assert_eq!(why(&["blacklist 0"]), NoServer::Down, "tried in vain");
    assert_eq!(why(&["server 0 acl 1", "server 1 acl 1", "acl 1 deny 0.0.0.9"]), NoServer::ForClient);
    let why_on_route = |lines: &[&str]| {
        let mut live = StatsTable::default();
        let snapshot = snapshot(&mut live, &servers(2, lines));
        let mut selection = search(&snapshot, client(9), None);
        let mut route = NumberSet::default();
        route.insert(0);
        selection.restrict(&Arc::new(route));
        while let Some(selected) = selection.next(1) {
            selection.failed(&selected, 1);
        }
        selection.why_none(1)
    };
    assert_eq!(why_on_route(&["blacklist 30"]), NoServer::ForClient, "the other one works");
    assert_eq!(why_on_route(&["server 0 port 0", "server 1 port 0"]), NoServer::Down);
}

#[test]
fn servers_at_their_limits_are_not_down() {
    let mut live = StatsTable::default();
    let snapshot = snapshot(&mut live, &servers(2, &["server 0 max 1", "server 1 max 1"]));
    let _held: Vec<_> = (0..2).map(|n| search(&snapshot, client(n), None).next(1).unwrap()).collect();
    let mut selection = search(&snapshot, client(9), None);
    assert!(selection.next(1).is_none());
    assert_eq!(selection.why_none(1), NoServer::Full);
}

#[test]
fn the_whole_ipv6_address_counts_in_the_hash() {
    let mut live = StatsTable::default();
    let snapshot = snapshot(&mut live, &servers(8, &["hash"]));
    let chosen =
        |n: u128| first(&snapshot, Client::new(IpAddr::V6((0xfd00u128 << 112 | n << 64 | 1).into())), None);
    assert!((0..64).map(chosen).collect::<Vec<_>>().windows(2).any(|w| w[0] != w[1]));
    let mapped = Client::new("::ffff:10.1.2.3".parse().unwrap());
    assert_eq!(first(&snapshot, mapped, None), first(&snapshot, client(0x0a01_0203), None));
}

proptest! {
    /// The explanation predicts the selection after any history, and predicting changes nothing.
    #[test]
    fn the_explanation_names_the_server_that_comes(
        lines in lines(),
        history in steps(),
        who in 0u32..6,
        remembered in prop::option::of(0usize..7),
    ) {
        let mut live = StatsTable::default();
        let snapshot = snapshot(&mut live, &lines);
        let (mut now, mut open) = (1, Vec::new());
        for step in history {
            match step {
                HistoryStep::Connect { who, remembered, failures } => {
                    let mut search = search(&snapshot, client(who), remembered);
                    for _ in 0..failures {
                        if let Some(selected) = search.next(now) {
                            search.failed(&selected, now);
                        }
                    }
                    open.extend(search.next(now));
                }
                HistoryStep::Close(at) if !open.is_empty() => _ = open.swap_remove(at.index(open.len())),
                HistoryStep::Close(_) => {}
                HistoryStep::Wait(time) => now += time,
            }
        }
        let foretold = [(), ()].map(|()| search(&snapshot, client(who), remembered).peeked(now));
        let comes = search(&snapshot, client(who), remembered).next(now).map(|s| s.backend.role);
        prop_assert_eq!(foretold, [comes, comes]);
    }
}

#[test]
fn a_server_that_is_removed_gets_nobody_more() {
    let mut live = StatsTable::default();
    let lines = servers(2, &[]);
    let snapshot = snapshot(&mut live, &lines);
    let removed = Arc::clone(snapshot.backend(Role::Regular(1)).unwrap());
    removed.stats.fails(1, 1000, 1);
    // A search that has already begun.
    let mut before = search(&snapshot, client(1), Some(1));
    live.remove(1, Arc::clone(&removed));
    removed.stats.remove();
    let chosen = before.next(1).unwrap();
    assert_eq!(chosen.backend.role, Role::Regular(0));
    assert!(before.next(1).is_none(), "nor as the last resort");
    // A new server in the slot inherits nothing.
    let next = self::snapshot(&mut live, &lines);
    let successor = next.backend(Role::Regular(1)).unwrap();
    assert!(!successor.stats.is_removed() && !Arc::ptr_eq(&successor.stats, &removed.stats));
    assert_eq!(successor.stats.standing(1), Standing::Clear);
}
