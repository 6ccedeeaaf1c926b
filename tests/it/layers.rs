//! Dependencies point one way: bin -> cli, app -> control, net, weblog, sys -> core -> std.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

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

fn uses(path: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            uses(&path, found);
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let parts = text
            .split("crate::")
            .skip(1)
            .map(|rest| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>());
        found.extend(parts.filter(|part| MAY_USE.iter().any(|(name, _)| name == part)));
    }
}

#[test]
fn dependencies_point_one_way() {
    for (part, allowed) in MAY_USE {
        let mut found = BTreeSet::new();
        uses(&tree::top().join("src").join(part), &mut found);
        found.remove(part);
        let allowed: BTreeSet<String> = allowed.iter().map(|part| (*part).to_owned()).collect();
        assert!(found.is_subset(&allowed), "src/{part} uses {found:?}; allowed is {allowed:?}");
    }
}

#[test]
fn the_core_is_pure() {
    let mut sources = vec![tree::top().join("src/core")];
    while let Some(path) = sources.pop() {
        if path.is_dir() {
            sources.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for word in ["tokio::", "std::fs", "std::time", "Instant::", "TcpStream", "UdpSocket"] {
            assert!(!text.contains(word), "{} has {word}", path.display());
        }
    }
}
