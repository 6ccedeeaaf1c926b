//! The house rule that dependencies point one way.

use crate::support::tree;

/// What each module may name besides itself and `core`; `core` names nobody.
const MAY: [(&str, &[&str]); 7] = [
    ("app", &["cli", "control", "net", "sys", "weblog"]),
    ("cli", &["control", "weblog"]),
    ("control", &["sys"]),
    ("core", &[]),
    ("net", &["sys", "weblog"]),
    ("sys", &[]),
    ("weblog", &["sys"]),
];

#[test]
fn dependencies_point_one_way() {
    let mut seen = 0;
    for path in tree::files("src", |path| path.extension().is_some_and(|e| e == "rs")) {
        let text = std::fs::read_to_string(&path).unwrap();
        let file = path.strip_prefix(tree::top().join("src")).unwrap().display().to_string();
        let Some((module, _)) = file.split_once('/') else { continue };
        let Some((_, may)) = MAY.iter().find(|(name, _)| *name == module) else {
            assert_eq!(module, "bin", "{file}: what may it name?");
            continue;
        };
        seen += 1;
        for named in text.split("crate::").skip(1) {
            let end = named.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(named.len());
            let named = &named[..end];
            let known = MAY.iter().any(|(name, _)| *name == named);
            assert!(
                !known || named == module || named == "core" || may.contains(&named),
                "{file} names {named}"
            );
        }
        // Its time is passed in, and comes from a clock that nobody sets: a blacklisting ends when it should.
        for clock_or_runtime in ["tokio::", "SystemTime", "Instant::", "jiff::"] {
            assert!(module != "core" || !text.contains(clock_or_runtime), "{file} names {clock_or_runtime}");
        }
    }
    assert!(seen > 50, "only {seen} files");
}
