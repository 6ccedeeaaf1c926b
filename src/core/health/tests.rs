//! Servers in virtual time, compared with a simple model.

use super::*;
use crate::core::Millis;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// The health after a list of results, computed another way: from the number of equal results at its end.
fn model(results: &[bool], rise: u32, fall: u32) -> Health {
    let mut health = Health::Unknown;
    let (mut last, mut row) = (None, 0);
    for result in results {
        row = if last == Some(*result) { row + 1 } else { 1 };
        last = Some(*result);
        health = match (health, result) {
            (Health::Up, false) if row >= fall => Health::Down,
            (Health::Down, true) if row >= rise => Health::Up,
            (Health::Unknown, true) => Health::Up,
            (Health::Unknown, false) => Health::Down,
            (health, _) => health,
        };
    }
    health
}

proptest! {
    #[test]
    fn results_in_a_row_decide(
        results in prop::collection::vec(any::<bool>(), 0..60),
        rise in 1u32..5,
        fall in 1u32..5,
    ) {
        let mut track = Track::default();
        for (count, result) in results.iter().enumerate() {
            let before = track.health();
            let change = track.result(*result, rise, fall);
            prop_assert_eq!(track.health(), model(&results[..=count], rise, fall));
            prop_assert_eq!(change, Some(track.health()).filter(|health| *health != before));
        }
    }
}

/// A server of the simulation.
struct Simulated {
    rule: Rule,
    timeout: Millis,
    /// When it freezes and recovers.
    frozen: std::ops::Range<Millis>,
    results: Vec<bool>,
    begun: Vec<Millis>,
    health: Health,
    busy: bool,
    went_down: Option<Millis>,
}

fn simulate(seed: u64, servers: usize, end: Millis) -> usize {
    let mut random = Monitor::new(seed);
    let mut pick = |from: Millis, to: Millis| from + random.random() % (to - from);
    let mut all: Vec<Simulated> = (0..servers)
        .map(|_| {
            let every = pick(100, 3000);
            let begin = pick(1, end);
            Simulated {
                rule: Rule { every, fast: pick(50, every), rise: pick(1, 5) as u32, fall: pick(1, 5) as u32 },
                timeout: pick(50, 2000),
                frozen: begin..begin + pick(1, end),
                results: Vec::new(),
                begun: Vec::new(),
                health: Health::Unknown,
                busy: false,
                went_down: None,
            }
        })
        .collect();
    let mut monitor = Monitor::new(seed ^ 1);
    monitor.configure(all.iter().enumerate().map(|(n, s)| (n, 0, s.rule)), 0);
    // When checks end, and their results.
    let mut ends: BTreeMap<(Millis, usize), bool> = BTreeMap::new();
    let mut steps = 0;
    let mut now = 0;
    while now < end {
        let ended = ends.first_key_value().map(|((at, _), _)| *at);
        now = ended.into_iter().chain(monitor.next()).min().unwrap_or(end).max(now);
        while let Some(due) = monitor.begin(now) {
            let server = &mut all[due.server];
            assert!(!server.busy, "two checks of one server");
            server.busy = true;
            server.begun.push(now);
            let fails = server.frozen.contains(&now);
            let took = if fails { server.timeout } else { pick(0, 5) };
            ends.insert((now + took, due.server), !fails);
            steps += 1;
        }
        while let Some(entry) = ends.first_entry().filter(|entry| entry.key().0 <= now) {
            let n = entry.key().1;
            let success = entry.remove();
            let server = &mut all[n];
            server.busy = false;
            server.results.push(success);
            if let Some(health) = monitor.finish(Due { server: n, period: 0 }, Some(success), now) {
                assert_ne!(health, server.health, "a change that is none");
                server.health = health;
                if health == Health::Down && server.frozen.contains(&now) {
                    server.went_down.get_or_insert(now);
                }
            }
        }
    }
    for (n, server) in all.iter().enumerate() {
        let rule = server.rule;
        assert_eq!(server.health, model(&server.results, rule.rise, rule.fall), "server {n}");
        for (count, pair) in server.begun.windows(2).enumerate() {
            let apart = pair[1] - pair[0];
            assert!(apart <= rule.every.max(server.timeout), "server {n}: {apart} ms");
            let shortest = rule.every.min(rule.fast) * 9 / 10;
            assert!(count == 0 || apart >= shortest, "server {n}: {apart} ms after check {count}");
        }
        // It is found down within the promised time, if it was frozen that long.
        let bound = server.frozen.start + Millis::from(rule.fall) * (rule.every + server.timeout);
        if bound < end.min(server.frozen.end) {
            assert!(
                server.went_down.is_some_and(|at| at <= bound),
                "server {n}: {:?}, {bound}",
                server.went_down
            );
        }
    }
    steps
}

#[test]
fn a_million_checks_in_virtual_time() {
    let mut checks = 0;
    let mut seed = 0;
    while checks < 1_000_000 {
        checks += simulate(seed, 60, 1_000_000);
        seed += 1;
    }
}

fn rule() -> Rule {
    Rule { every: 1000, fast: 1000, rise: 2, fall: 3 }
}

fn all_due(monitor: &mut Monitor, now: Millis) -> Vec<Due> {
    std::iter::from_fn(|| monitor.begin(now)).collect()
}

#[test]
fn what_is_known_stays_while_the_period_is_the_same() {
    let mut monitor = Monitor::new(1);
    monitor.configure([(0, 1, rule()), (1, 1, rule())], 0);
    let due = all_due(&mut monitor, 100);
    assert_eq!(due.iter().map(|due| due.server).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(monitor.finish(due[0], Some(true), 101), Some(Health::Up));
    // The second server has changed meanwhile: the check in progress says nothing about it.
    monitor.configure([(0, 1, rule()), (1, 2, rule())], 102);
    assert_eq!(monitor.finish(due[1], Some(false), 103), None);
    let again = all_due(&mut monitor, 103);
    assert_eq!(again, [Due { server: 1, period: 2 }]);
    assert_eq!(monitor.finish(again[0], Some(true), 104), Some(Health::Up));
    let first = all_due(&mut monitor, 2000);
    assert_eq!(first.len(), 2);
    assert_eq!(monitor.finish(first[0], Some(true), 2001), None, "it is up already");
    monitor.configure([], 2002);
    assert_eq!((monitor.next(), monitor.finish(first[1], Some(false), 2003)), (None, None));
}

#[test]
fn whoever_meets_a_failure_has_it_checked_at_once() {
    let mut monitor = Monitor::new(1);
    monitor.configure([(0, 1, rule())], 0);
    let due = all_due(&mut monitor, 0)[0];
    // A check is in progress: its result may be older than the failure.
    monitor.ask(0, 1);
    assert_eq!(monitor.next(), None);
    monitor.finish(due, Some(true), 2);
    assert_eq!(monitor.next(), Some(2));
    let due = all_due(&mut monitor, 2)[0];
    monitor.finish(due, Some(true), 3);
    assert!(monitor.next().is_some_and(|next| next > 3));
    monitor.ask(0, 10);
    monitor.ask(7, 10);
    assert_eq!(monitor.next(), Some(10));
}

#[test]
fn many_servers_are_spread() {
    let mut monitor = Monitor::new(3);
    monitor.configure((0..1000).map(|n| (n, 1, rule())), 0);
    let mut per_tenth = [0; 30];
    for now in 0..3000 {
        for due in all_due(&mut monitor, now) {
            per_tenth[usize::try_from(now / 100).unwrap()] += 1;
            monitor.finish(due, Some(true), now);
        }
    }
    assert!(per_tenth[20..].iter().all(|count| (60..180).contains(count)), "{per_tenth:?}");
}

#[test]
fn whoever_is_woken_for_one_check_begins_those_that_are_due_soon() {
    let mut monitor = Monitor::new(1);
    monitor.configure((0..20).map(|n| (n, 1, rule())), 0);
    // They are due every five milliseconds.
    let begun: Vec<usize> = all_due(&mut monitor, 0).iter().map(|due| due.server).collect();
    assert_eq!(begun, (0..=10).collect::<Vec<_>>());
    assert_eq!(monitor.next(), Some(55));
    // Where the interval is short, so is that.
    let quick = Rule { every: 100, fast: 60, ..rule() };
    let mut monitor = Monitor::new(1);
    monitor.configure((0..10).map(|n| (n, 1, quick)), 0);
    assert_eq!(all_due(&mut monitor, 0).len(), 1);
    assert_eq!(all_due(&mut monitor, 2).len(), 1);
}
