//! Slow start: which servers begin it, and how many clients they take.

use super::*;

#[test]
fn a_server_that_leaves_maintenance_begins_slowly_with_a_check_or_without() {
    let with = |state: &str, check: &str| {
        servers(2, &["check it every 1", "slowstart 100", &format!("server 1 state {state} {check}")])
    };
    for check in ["", "check it"] {
        let mut live = StatsTable::default();
        let mut before = snapshot(&mut live, &with("maint", check));
        let mut becomes = |live: &mut StatsTable, state: &str, now| {
            let next = snapshot(live, &with(state, check));
            next.replaces(&before, now);
            before = next;
        };
        becomes(&mut live, "ready", 1000);
        if !check.is_empty() {
            live.server(1).set_health(Health::Up, 1000);
        }
        let shares = |live: &mut StatsTable| {
            [1000, 51_000, 101_000].map(|now| [0, 1].map(|n| live.server(n).share(now, 100_000)))
        };
        assert_eq!(shares(&mut live), [[1000, 100], [1000, 550], [1000, 1000]], "{check}");
        // What says nothing of maintenance changes nothing.
        becomes(&mut live, "drain", 2000);
        becomes(&mut live, "ready", 3000);
        assert_eq!(shares(&mut live)[1], [1000, 550], "{check}");
        becomes(&mut live, "maint", 200_000);
        becomes(&mut live, "drain", 300_000);
        if !check.is_empty() {
            live.server(1).set_health(Health::Up, 300_000);
        }
        assert_eq!(live.server(1).share(300_000, 100_000), 100, "{check}");
    }
}

#[test]
fn the_first_check_of_a_server_that_serves_begins_no_slow_start() {
    let with = |state: &str, check: &str| {
        servers(2, &["check it every 1", "slowstart 100", &format!("server 1 state {state} {check}")])
    };
    let mut live = StatsTable::default();
    let maint = snapshot(&mut live, &with("maint", ""));
    let ready = snapshot(&mut live, &with("ready", ""));
    ready.replaces(&maint, 1000);
    snapshot(&mut live, &with("ready", "check it")).replaces(&ready, 500_000);
    live.server(1).set_health(Health::Up, 500_000);
    assert_eq!(live.server(1).share(500_000, 100_000), 1000);
}

#[test]
fn a_server_that_comes_up_takes_a_share_that_grows() {
    for rule in ["roundrobin", "weight", "prio", "hash"] {
        let mut live = StatsTable::default();
        let lines =
            servers(2, &[rule, "nomemory", "slowstart 100", "server 0 weight 1", "server 1 weight 1 max 20"]);
        let snapshot = snapshot(&mut live, &lines);
        let stats = live.server(1);
        stats.set_health(Health::Down, 1);
        stats.set_health(Health::Up, 1000);
        let share_of = |now: Millis| {
            let chosen = |n: u32| search(&snapshot, client(n * 977), None).next(now).unwrap().backend.role;
            (0..2000).filter(|n| chosen(*n) == Role::Regular(1)).count()
        };
        let [begin, half, end] = [1000, 51_000, 101_000].map(share_of);
        assert!((60..260).contains(&begin), "{rule}: {begin} of 2000 at first");
        assert!((440..800).contains(&half), "{rule}: {half} of 2000 half way");
        assert!((900..1100).contains(&end), "{rule}: {end} of 2000 at the end");
        // So does its limit; when no other server can serve clients, they get it all the same.
        live.server(0).set_health(Health::Down, 1000);
        let held = |now: Millis| {
            let held: Vec<_> = (0..30).map_while(|n| search(&snapshot, client(n), None).next(now)).collect();
            held.len()
        };
        assert_eq!([1000, 51_000, 101_000].map(held), [2, 11, 20], "{rule}");
    }
}
