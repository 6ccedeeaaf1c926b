//! The manifest of the package of IPS: made from the prototypes, and all that pkg(7) needs to take the scripts' place.

use crate::support::tree;
use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

fn manifest() -> String {
    fs::read_to_string(tree::top().join("pkg/pen.p5m")).unwrap()
}

/// An action: its name, what it takes its content from, and its attributes with their values.
type Action = (String, Option<String>, BTreeMap<String, Vec<String>>);

/// Reads actions as pkg(7) writes them.
fn actions() -> Vec<Action> {
    let text = manifest();
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(action).collect()
}

fn action(line: &str) -> Action {
    let mut words: Vec<String> = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().unwrap().push(c),
        }
    }
    assert!(!quoted, "{line}");
    let mut words = words.into_iter();
    let name = words.next().unwrap();
    let (mut payload, mut attributes) = (None, BTreeMap::<String, Vec<String>>::new());
    for word in words {
        match word.split_once('=') {
            Some((key, value)) => attributes.entry(key.to_owned()).or_default().push(value.to_owned()),
            None => assert!(payload.replace(word).is_none(), "{line}"),
        }
    }
    (name, payload, attributes)
}

#[test]
fn the_manifest_is_made_from_the_prototypes() {
    let place = tempfile::tempdir().unwrap();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let made = place.path().join("pen.p5m");
    tree::run(Command::new(cargo).args(["xtask", "p5m", "--output"]).arg(&made));
    assert_eq!(manifest(), fs::read_to_string(made).unwrap(), "cargo xtask p5m");
}

#[test]
fn every_file_of_the_prototypes_is_delivered_once() {
    let text = fs::read_to_string(tree::top().join("pkg/SUNWpen/prototype_com")).unwrap();
    let mut named: BTreeMap<String, (String, String, String)> = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with(['f', 'e'])) {
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        named.insert(words[2].clone(), (format!("0{}", words[3]), words[4].clone(), words[5].clone()));
    }
    for (name, payload, attributes) in actions() {
        let one = |key: &str| attributes.get(key).map(|values| values.join(","));
        match name.as_str() {
            "file" => {
                let payload = payload.unwrap();
                let (mode, owner, group) = named.remove(&payload).unwrap_or_else(|| panic!("{payload}"));
                assert_eq!((one("mode"), one("owner"), one("group")), (Some(mode), Some(owner), Some(group)));
                let moved = payload.replace("var/svc/manifest/", "lib/svc/manifest/");
                assert_eq!(one("path"), Some(moved));
            }
            "dir" => assert!(["path", "owner", "group", "mode"].iter().all(|key| one(key).is_some())),
            "license" => assert!(tree::top().join(payload.unwrap()).is_file()),
            "set" | "legacy" | "depend" => assert_eq!(payload, None),
            other => panic!("{other}: packages of IPS have no scripts, and this one nothing else"),
        }
    }
    assert!(named.is_empty(), "{named:?}");
}

#[test]
fn actuators_and_attributes_take_the_place_of_scripts() {
    let all = actions();
    let attribute = |path: &str, key: &str| {
        let found =
            all.iter().find(|(_, _, attributes)| attributes.get("path").is_some_and(|p| p[0] == path));
        found.unwrap_or_else(|| panic!("{path}")).2.get(key).map(|values| values.join(","))
    };
    for (path, key, value) in [
        ("lib/svc/manifest/network/pen.xml", "restart_fmri", "svc:/system/manifest-import:default"),
        ("etc/security/auth_attr.d/SUNWpen", "restart_fmri", "svc:/system/rbac:default"),
        ("etc/security/prof_attr.d/SUNWpen", "restart_fmri", "svc:/system/rbac:default"),
        ("usr/bin/pen", "restart_fmri", "svc:/network/pen:default"),
        ("etc/pen/pen.conf.sample", "preserve", "renamenew"),
        ("usr/share/man/man1/pen.1", "facet.doc.man", "true"),
        ("usr/share/doc/pen/HOWTO", "facet.doc", "true"),
        ("usr/share/doc", "group", "other"),
    ] {
        assert_eq!(attribute(path, key).as_deref(), Some(value), "{path}");
    }
    let set = |name: &str| {
        let found = all.iter().find(|(kind, _, attributes)| kind == "set" && attributes["name"] == [name]);
        found.unwrap_or_else(|| panic!("{name}")).2["value"].clone()
    };
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(set("pkg.fmri"), [format!("pkg:/service/network/load-balancer/pen@{version}")]);
    assert_eq!(set("org.opensolaris.smf.fmri"), ["svc:/network/pen", "svc:/network/pen:default"]);
    let legacy = all.iter().find(|(kind, ..)| kind == "legacy").unwrap();
    assert_eq!(legacy.2["pkg"], ["SUNWpen"]);
    let depends: Vec<_> =
        all.iter().filter(|(kind, ..)| kind == "depend").map(|(_, _, a)| a["fmri"].join(" ")).collect();
    assert!(depends.iter().any(|fmri| fmri == "pkg:/library/security/openssl"), "{depends:?}");
    assert!(depends.iter().any(|fmri| fmri.contains("gcc")), "{depends:?}");
    // Every directory on the way to a file is there.
    for (kind, _, attributes) in &all {
        if let ("file", Some(path)) = (kind.as_str(), attributes.get("path")) {
            for parent in std::path::Path::new(&path[0]).ancestors().skip(1).filter(|p| p.as_os_str() != "") {
                assert_eq!(attribute(parent.to_str().unwrap(), "owner").as_deref(), Some("root"));
            }
        }
    }
}
