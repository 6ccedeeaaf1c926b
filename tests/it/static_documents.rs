//! Manual pages and the sample configuration.

use crate::support::tree::{self, tool};
use pen::core::settings::{Setting, ValueKind};
use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

#[test]
fn mandoc_has_nothing_to_say() {
    let Some(mut mandoc) = tool("mandoc") else { return };
    let pages = tree::files("man1", |path| path.extension().is_some_and(|e| e == "1"));
    if !pages.is_empty() {
        let said = tree::run(mandoc.args(["-T", "lint", "-W", "warning"]).args(pages));
        assert_eq!(tree::text(&said), "");
    }
}

fn sample() -> String {
    fs::read_to_string(tree::top().join("etc/pen/pen.conf.sample")).unwrap()
}

/// The sample with every setting active: those that are shown behind a `#` without a blank.
fn uncommented() -> String {
    let active = |line: &str| match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase()) => rest.to_owned(),
        _ => line.to_owned(),
    };
    sample().lines().map(|line| active(line) + "\n").collect()
}

#[test]
fn the_sample_shows_every_setting() {
    let shown: BTreeSet<_> = uncommented()
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.strip_prefix("no ").unwrap_or(line).split(' ').next().map(str::to_owned))
        .collect();
    for word in Setting::all().map(Setting::word).chain(["server", "acl", "include"]) {
        assert!(shown.contains(word), "the sample does not show {word}");
    }
}

/// The values behind "default" in the sample are the ones that hold.
#[test]
fn the_sample_tells_the_defaults() {
    let text = uncommented();
    let numbers = Setting::all()
        .filter(|s| matches!(s.spec().kind, ValueKind::Number { .. } | ValueKind::Seconds { .. }));
    for setting in numbers {
        let word = setting.word();
        let at = text.find(&format!("\n{word} ")).unwrap_or_else(|| panic!("{word}"));
        let before = text[..at].rsplit("\n\n").next().unwrap();
        let told = before.rsplit("default ").next().unwrap().split([')', ';', ',']).next().unwrap();
        if let Ok(told) = told.parse::<u64>() {
            assert_eq!(told.to_string(), setting.default().to_string(), "{word}");
        }
    }
}

fn check(configuration: &str) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, configuration.as_bytes()).unwrap();
    open_to_others(file.path());
    tree::run(Command::new(env!("CARGO_BIN_EXE_pen")).arg("--check").arg("-F").arg(file.path()));
}

#[test]
fn the_sample_is_a_configuration() {
    check(&sample());
}

#[test]
fn the_sample_is_a_configuration_with_every_setting_active() {
    let Some(mut openssl) = tool("openssl") else { return };
    let place = tempfile::tempdir().unwrap();
    let tls = place.path().join("tls");
    for directory in ["names", "ca"] {
        fs::create_dir_all(tls.join(directory)).unwrap();
    }
    let (key, certificate) = (tls.join("server.key"), tls.join("server.crt"));
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]);
    openssl.args(["-subj", "/CN=localhost", "-days", "2"]);
    tree::run(openssl.arg("-keyout").arg(&key).arg("-out").arg(&certificate));
    for copy in ["ca.pem", "servers-ca.pem", "client.crt"] {
        fs::copy(&certificate, tls.join(copy)).unwrap();
    }
    fs::copy(&key, tls.join("client.key")).unwrap();
    fs::copy(&certificate, tls.join("ca/ca.pem")).unwrap();
    tree::run(Command::new("openssl").arg("rehash").arg(tls.join("ca")));
    fs::write(place.path().join("servers.conf"), "server 2 address 127.0.0.1 port 8085\n").unwrap();
    // A response needs an authority to sign it, and datagrams know no TLS.
    let text = uncommented()
        .replace("/etc/pen", &place.path().display().to_string())
        .replace("/var/empty", &place.path().display().to_string())
        .lines()
        .filter(|line| !line.starts_with("ssl_ocsp_response") && *line != "udp")
        .map(|line| format!("{line}\n"))
        .collect::<String>();
    open_to_others(place.path());
    check(&text);
}

/// The check may read as another user than the one that wrote.
fn open_to_others(directory: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    let mode = if directory.is_dir() { 0o755 } else { 0o644 };
    fs::set_permissions(directory, fs::Permissions::from_mode(mode)).unwrap();
    if directory.is_dir() {
        fs::read_dir(directory).unwrap().for_each(|entry| open_to_others(&entry.unwrap().path()));
    }
}

/// With a second instance "pen" alone is ambiguous to svcadm(1M) and svcs(1): documents name the instance.
#[test]
fn documents_name_the_instance() {
    let documents = ["doc", "man1", "etc", "smf"].into_iter().flat_map(|place| tree::files(place, |_| true));
    for document in documents.chain([tree::top().join("README.md")]) {
        let text = fs::read_to_string(&document).unwrap();
        for (number, line) in text.lines().enumerate() {
            let Some((_, after)) = line.split_once("svcadm ").or_else(|| line.split_once("svcs ")) else {
                continue;
            };
            let words = after.split(|c: char| c.is_whitespace() || "`\\\"';".contains(c));
            let ambiguous =
                words.take(5).any(|word| ["pen", "network/pen", "svc:/network/pen"].contains(&word));
            assert!(!ambiguous, "{}:{}: {line}", document.display(), number + 1);
        }
    }
}
