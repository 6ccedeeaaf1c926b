//! The service manifest: valid, and its templates describe what pen understands.

use crate::support::skipped;
use crate::support::tree::{self, tool};
use pen::core::settings::Setting;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

fn manifest() -> String {
    fs::read_to_string(tree::top().join("smf/pen.xml")).unwrap()
}

/// The document type of manifests: where Solaris keeps it, or beside the project.
fn dtd() -> Option<PathBuf> {
    let places = [
        PathBuf::from("/usr/share/lib/xml/dtd/service_bundle.dtd.1"),
        tree::top().join("../shared/dtd/service_bundle.dtd.1"),
    ];
    let found = places.into_iter().find(|path| path.is_file());
    if found.is_none() {
        skipped("the_manifest_is_valid", "there is no service_bundle.dtd.1 here");
    }
    found
}

#[test]
fn the_manifest_is_valid() {
    let (Some(mut xmllint), Some(dtd)) = (tool("xmllint"), dtd()) else { return };
    // The name in the document is Solaris's own; what is given counts.
    xmllint.args(["--noout", "--nonet", "--dtdvalid"]).arg(dtd);
    let said = tree::run(xmllint.args(["smf/pen.xml", "doc/examples/health.xml"]));
    let said = tree::text(&said);
    assert!(!said.contains("validity error"), "{said}");
}

/// The properties that the template describes in one group, with their types.
fn template(group: &str) -> BTreeMap<String, String> {
    let text = manifest();
    let (_, after) = text.split_once(&format!("<pg_pattern name='{group}'")).expect("a template");
    let (inside, _) = after.split_once("</pg_pattern>").expect("its end");
    let attribute = |element: &str, name: &str| {
        element
            .split_once(&format!("{name}='"))
            .and_then(|(_, rest)| rest.split_once('\''))
            .map(|v| v.0.to_owned())
    };
    let patterns = inside.split("<prop_pattern ").skip(1);
    patterns.map(|p| (attribute(p, "name").unwrap(), attribute(p, "type").unwrap())).collect()
}

#[test]
fn every_setting_has_its_property() {
    let mut properties = template("pen");
    let mut expect = |name: &str, kind: &str| {
        assert_eq!(properties.remove(name).as_deref(), Some(kind), "pen/{name}");
    };
    for (name, kind) in Setting::all().filter_map(Setting::property) {
        expect(name, kind);
    }
    for other in ["servers", "command"] {
        expect(other, "astring");
    }
    assert!(properties.is_empty(), "pen knows nothing of {properties:?}");
}

#[test]
fn the_configuration_file_is_a_property() {
    assert_eq!(template("config").get("file").map(String::as_str), Some("astring"));
}

/// What the authorizations in the manifest name is in the databases that the package brings.
#[test]
fn authorizations_are_delivered() {
    let text = manifest();
    let read = |name: &str| fs::read_to_string(Path::new("pkg/SUNWpen").join(name)).unwrap();
    let (auths, profile) = (read("auth_attr"), read("prof_attr"));
    for name in ["solaris.smf.manage.pen", "solaris.smf.value.pen"] {
        assert!(text.contains(&format!("value='{name}'")), "{name} is not in the manifest");
        assert!(
            auths.lines().any(|line| line.starts_with(&format!("{name}:"))),
            "{name} is not in auth_attr"
        );
        assert!(profile.contains(name), "{name} is not in prof_attr");
    }
    for line in auths.lines().filter(|l| !l.starts_with('#')) {
        assert_eq!(line.split(':').count(), 6, "auth_attr(4): {line}");
    }
    for line in profile.lines().filter(|l| !l.starts_with('#')) {
        assert_eq!(line.split(':').count(), 5, "prof_attr(4): {line}");
        assert!(line.starts_with("Pen Load Balancer Management:"));
    }
}
