//! Dependencies point one way: bin -> cli, app -> control, net, weblog, sys -> core -> std.

use std::collections::BTreeSet;
use std::fs;

use crate::support::tree;

/// What each part of `src` may use of the others. Parts of a layer use those below; net and control never each other.
const MAY_USE: [(&str, &[&str]); 7] = [
    ("core", &[]),
    ("sys", &[]),
    ("weblog", &["core", "sys"]),
    ("control", &["core", "sys"]),
    ("net", &["core", "sys", "weblog"]),
    ("cli", &["core", "weblog"]),
    ("app", &["cli", "control", "core", "net", "sys", "weblog"]),
];

/// The sources below a directory of the tree, by their names there, and their texts.
fn sources(part: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut paths = vec![tree::top().join(part)];
    while let Some(path) = paths.pop() {
        if path.is_dir() {
            paths.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let name = path.strip_prefix(tree::top()).unwrap().to_str().unwrap().to_owned();
        found.push((name, fs::read_to_string(path).unwrap()));
    }
    assert!(!found.is_empty(), "{part} has no sources");
    found
}

fn uses(part: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (_, text) in sources(part) {
        let parts = text
            .split("crate::")
            .skip(1)
            .map(|rest| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>());
        found.extend(parts.filter(|part| MAY_USE.iter().any(|(name, _)| name == part)));
    }
    found
}

#[test]
fn dependencies_point_one_way() {
    for (part, allowed) in MAY_USE {
        let mut found = uses(&format!("src/{part}"));
        found.remove(part);
        let allowed: BTreeSet<String> = allowed.iter().map(|part| (*part).to_owned()).collect();
        assert!(found.is_subset(&allowed), "src/{part} uses {found:?}; allowed is {allowed:?}");
    }
}

#[test]
fn the_core_is_pure() {
    for (name, text) in sources("src/core") {
        for word in ["tokio::", "std::fs", "std::time", "Instant::", "TcpStream", "UdpSocket"] {
            assert!(!text.contains(word), "{name} has {word}");
        }
    }
}

#[test]
fn what_lasts_a_while_is_measured_by_the_monotonic_clock() {
    const SHOW_THE_DATE: [&str; 3] =
        ["src/app/clock.rs", "src/net/filter/request_log.rs", "src/net/tls/file_stamp.rs"];
    let clocks = ["SystemTime", "UNIX_EPOCH", "jiff::", "CLOCK_REALTIME", "gettimeofday", "libc::time"];
    let found: BTreeSet<String> = ["src/net", "src/app"]
        .into_iter()
        .flat_map(sources)
        .filter(|(_, text)| clocks.iter().any(|clock| text.contains(clock)))
        .map(|(name, _)| name)
        .collect();
    let allowed: BTreeSet<String> = SHOW_THE_DATE.map(str::to_owned).into();
    assert_eq!(
        found, allowed,
        "only what shows a date, or compares one with a file's, may read the wall clock: an administrator or NTP \
         sets it back and forth, and blacklist times, timeouts and clients' ages must not move with it"
    );
}
