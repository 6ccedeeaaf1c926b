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

/// Two servers with checks; a line changes the second one, or its check.
fn changed_by(line: &str) -> Vec<String> {
    servers(2, &["check it every 1", "check other type http", "check_default it", "slowstart 100", line])
}

/// What makes the results of a check invalid.
const CHANGES: [&str; 9] = [
    "check it every 2",
    "check_default other",
    "server 1 check other",
    "server 1 check none",
    "server 1 proxy v1",
    "server 1 tls on",
    "server 1 port 81",
    "server 1 address 10.0.0.77",
    "server 1 weight 7",
];

#[test]
fn a_change_of_a_check_begins_no_slow_start_of_a_server_that_is_well() {
    for line in CHANGES {
        let mut live = StatsTable::default();
        let mut before = snapshot(&mut live, &changed_by("server 1 max 0"));
        (0..2).for_each(|n| live.server(n).set_health(Health::Up, 10));
        // There and back.
        for (now, line) in [(1000, line), (2000, "server 1 max 0")] {
            let next = snapshot(&mut live, &changed_by(line));
            next.replaces(&before, now);
            before = next;
            let shares = |live: &mut StatsTable, now| [0, 1].map(|n| live.server(n).share(now, 100_000));
            assert_eq!(shares(&mut live, now), [1000, 1000], "{line}");
            for n in 0..2 {
                if live.server(n).health() == Health::Unknown {
                    live.server(n).set_health(Health::Up, now + 500);
                }
            }
            assert_eq!(shares(&mut live, now + 500), [1000, 1000], "{line}");
        }
    }
}

#[test]
fn a_change_of_a_check_takes_no_slow_start_away() {
    for line in CHANGES {
        for was_down in [true, false] {
            let mut live = StatsTable::default();
            let before = snapshot(&mut live, &changed_by("server 1 max 0"));
            live.server(1).set_health(Health::Down, 10);
            if !was_down {
                live.server(1).set_health(Health::Up, 1000);
            }
            snapshot(&mut live, &changed_by(line)).replaces(&before, 51_000);
            let shares = |live: &mut StatsTable| {
                [51_000, 101_000, 151_000].map(|now| live.server(1).share(now, 100_000))
            };
            let is_kept = line.contains("weight");
            match live.server(1).health() {
                Health::Unchecked => assert!(line.contains("none"), "{line}"),
                Health::Unknown => live.server(1).set_health(Health::Up, 51_000),
                _ => assert!(is_kept, "{line}"),
            }
            // One in slow start goes on with it; one that was down begins it.
            match was_down {
                true if is_kept => assert_eq!(live.server(1).health(), Health::Down),
                true => assert_eq!(shares(&mut live), [100, 550, 1000], "{line}"),
                false => assert_eq!(shares(&mut live), [550, 1000, 1000], "{line}"),
            }
            // Once.
            let before = snapshot(&mut live, &changed_by(line));
            snapshot(&mut live, &changed_by("check it every 7")).replaces(&before, 300_000);
            live.server(1).set_health(Health::Up, 300_000);
            if !(was_down && is_kept) {
                assert_eq!(live.server(1).share(300_000, 100_000), 1000, "{line}");
            }
        }
    }
}

#[test]
fn a_new_server_in_a_slot_begins_no_slow_start() {
    let mut live = StatsTable::default();
    let before = snapshot(&mut live, &changed_by("server 1 max 0"));
    live.server(1).set_health(Health::Down, 10);
    live.remove(1, Arc::clone(before.backends[1].as_ref().unwrap()));
    snapshot(&mut live, &changed_by("server 1 max 0")).replaces(&before, 1000);
    live.server(1).set_health(Health::Up, 1000);
    assert_eq!(live.server(1).share(1000, 100_000), 1000);
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
