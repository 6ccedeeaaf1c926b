//! Stamps that are out of order: clocks that were set, damaged lines, and pauses.

use super::{files, merge, text};
use crate::support::weblog::{MERGELOGS, web_line};

const BEGIN: i64 = 971_175_336;
const HOUR: i64 = 3600;

fn entry(n: i64, at: i64, server: u8) -> String {
    format!("192.0.2.{} {at} 10.0.0.{server} GET /{n} HTTP/1.0\n", n % 200)
}

/// Line `n` of a server's log.
fn line(n: i64, at: i64) -> String {
    let time = jiff::Timestamp::from_second(at).unwrap().strftime("%d/%b/%Y:%H:%M:%S +0000").to_string();
    web_line(&format!("GET /{n} HTTP/1.0")).replace("10/Oct/2000:13:55:36 +0300", &time) + "\n"
}

/// Merges, and returns the output with the number of lines that have their client.
fn matches(pen: &str, logs: &[&str]) -> (usize, String, String) {
    let names = ["one", "two", "three"];
    let mut all = vec![("pen", pen)];
    all.extend(names.iter().copied().zip(logs.iter().copied()));
    let directory = files(&all);
    let operands: Vec<String> = (0..logs.len()).map(|n| format!("10.0.0.{}:@/{}", n + 1, names[n])).collect();
    let output = merge(MERGELOGS, directory.path(), &format!("-p @/pen {}", operands.join(" ")));
    assert!(output.status.success());
    let out = text(output.stdout);
    assert_eq!(out.lines().count(), logs.iter().map(|log| log.lines().count()).sum::<usize>());
    (out.lines().filter(|line| line.starts_with("192.0.2.")).count(), out, text(output.stderr))
}

/// 10,000 requests, one a second, to two servers in turn.
fn requests(stamp: impl Fn(i64) -> i64) -> (String, [String; 2]) {
    let (mut pen, mut logs) = (String::new(), [String::new(), String::new()]);
    for n in 0..10_000 {
        pen += &entry(n, stamp(n), (n % 2 + 1) as u8);
        logs[(n % 2) as usize] += &line(n, BEGIN + n);
    }
    (pen, logs)
}

#[test]
fn one_entry_ahead_of_its_time_blocks_nothing() {
    for wrong in [0, 1, 1000, 9999] {
        for ahead in [700, HOUR, 23 * HOUR, 30 * HOUR, 1_000_000_000] {
            let (pen, [one, two]) = requests(|n| BEGIN + n + if n == wrong { ahead } else { 0 });
            let (matched, _, said) = matches(&pen, &[&one, &two]);
            assert_eq!(matched, 9_999, "entry {wrong} ahead by {ahead}: {said}");
        }
    }
}

#[test]
fn a_clock_that_was_wrong_for_a_while_loses_that_while_only() {
    for wrong in [-HOUR, HOUR, 23 * HOUR] {
        let (pen, [one, two]) = requests(|n| BEGIN + n + if (2000..4000).contains(&n) { wrong } else { 0 });
        let (matched, _, said) = matches(&pen, &[&one, &two]);
        assert_eq!(matched, 8_000, "{wrong}: {said}");
    }
}

/// The same for a server's clock: its lines are written at their own time, and no other line suffers.
#[test]
fn a_line_ahead_of_its_time_blocks_no_log() {
    for ahead in [700, 23 * HOUR] {
        let (pen, [one, two]) = requests(|n| BEGIN + n);
        let wrong = line(1000, BEGIN + 1000);
        let one = one.replace(&wrong, &line(1000, BEGIN + 1000 + ahead));
        let (matched, out, said) = matches(&pen, &[&one, &two]);
        assert_eq!(matched, 9_999, "{ahead}: {said}");
        assert!(!said.contains("out of order"), "{said}");
        let place = out.lines().position(|line| line.contains("GET /1000 ")).unwrap() as i64;
        assert!((place - (1000 + ahead).min(9_999)).abs() <= 1, "{place}");
    }
}

#[test]
fn a_night_without_requests_changes_nothing() {
    let (mut pen, mut logs) = (String::new(), [String::new(), String::new(), String::new()]);
    for n in 0..3000 {
        // Days of two hours; the third server sleeps through the second one.
        let at = BEGIN + n * 7 + n / 1000 * 22 * HOUR;
        let server = if (1000..2000).contains(&n) { n % 2 } else { n % 3 };
        pen += &entry(n, at, server as u8 + 1);
        logs[server as usize] += &line(n, at + n % 30);
    }
    let (matched, out, said) = matches(&pen, &[&logs[0], &logs[1], &logs[2]]);
    assert_eq!((matched, said.as_str()), (3000, ""));
    let times: Vec<i64> = out.lines().map(time).collect();
    assert!(times.is_sorted());
}

/// The time of a line.
fn time(line: &str) -> i64 {
    let stamp = line.split(['[', ']']).nth(1).unwrap();
    jiff::Zoned::strptime("%d/%b/%Y:%H:%M:%S %z", stamp).unwrap().timestamp().as_second()
}

#[test]
fn identical_requests_are_each_given_once_and_to_the_nearest() {
    let (mut pen, mut log) = (String::new(), String::new());
    for n in 0..20_000_i64 {
        let at = BEGIN + n / 1000;
        pen += &format!("10.{}.{}.1 {at} 10.0.0.1 GET / HTTP/1.0\n", n / 200, n % 200);
        log += &line(0, at).replace("GET /0 ", "GET / ");
    }
    let (_, out, said) = matches(&pen, &[&log]);
    let clients: Vec<&str> = out.lines().map(|line| line.split(' ').next().unwrap()).collect();
    let wanted: Vec<String> = (0..20_000).map(|n| format!("10.{}.{}.1", n / 200, n % 200)).collect();
    assert!(clients == wanted && said.is_empty(), "{said}");
}

/// A log without a single stamp is not held in memory, nor does it hold others up.
#[test]
fn a_log_without_stamps_is_copied() {
    let (pen, [one, _]) = requests(|n| BEGIN + n);
    let json: String = (0..10_000).map(|n| format!("{{\"n\":{n},\"request\": \"GET /{n}\"}}\n")).collect();
    let (matched, out, said) = matches(&pen, &[&one, &json]);
    assert_eq!(matched, 5_000, "{said}");
    assert!(out.contains(&json));
    assert!(said.contains("10000 lines of 15000 are in no known format"), "{said}");
}
