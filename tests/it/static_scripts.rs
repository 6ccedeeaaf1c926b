//! Every shell script of the tree is one to every shell that may read it.

use crate::support::tree::{self, tool};
use std::fs;
use std::path::PathBuf;

/// What begins with the name of a shell, and what a package runs by one.
fn scripts() -> Vec<PathBuf> {
    let found = tree::files("", |path| {
        fs::read(path).is_ok_and(|text| {
            let first = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
            first.starts_with(b"#!") && first.ends_with(b"sh")
        })
    });
    for must in ["install-sfw", "smf/svc-pen", "pkg/SUNWpen/i.manifest", "pkg/SUNWpen/r.manifest"] {
        assert!(found.contains(&tree::top().join(must)), "{must} is no script");
    }
    found
}

#[test]
fn shellcheck_has_nothing_to_say() {
    let Some(mut shellcheck) = tool("shellcheck") else { return };
    let said = tree::run(shellcheck.args(scripts()));
    assert_eq!(tree::text(&said), "");
}

#[test]
fn dash_reads_every_script() {
    for script in scripts() {
        let Some(mut dash) = tool("dash") else { return };
        let said = tree::run(dash.arg("-n").arg(&script));
        assert_eq!(tree::text(&said), "", "{}", script.display());
    }
}

/// The shell of Solaris 11. It would have forms that other shells do not know, such as `((n=n+1))`.
#[test]
fn ksh_reads_every_script() {
    for script in scripts() {
        let Some(mut ksh) = tool("ksh") else { return };
        let said = tree::text(&tree::run(ksh.arg("-n").arg(&script)));
        let other: Vec<_> = said
            .lines()
            .filter(|line| !line.contains("obsolete, use") && !line.contains("is slower than"))
            .collect();
        assert_eq!(other, [""; 0], "{}", script.display());
    }
}

/// What is delivered to Solaris, where the package's scripts may be run by the Bourne shell.
#[test]
fn delivered_scripts_are_bourne() {
    for script in scripts() {
        let name = script.strip_prefix(tree::top()).unwrap();
        let delivered =
            ["pkg", "smf", "install-sfw", "doc/examples"].iter().any(|place| name.starts_with(place));
        if !delivered || name.starts_with("doc/examples/systemd") {
            continue;
        }
        let text = fs::read_to_string(&script).unwrap();
        assert_eq!(text.lines().next(), Some("#!/bin/sh"), "{}", name.display());
        for (number, line) in text.lines().enumerate() {
            let code = if line.trim_start().starts_with('#') { "" } else { line };
            // The last ones: its test knows no sockets, no -e and no ages, and it has no ! and no $( ).
            for word in [
                "local ",
                "function ",
                "[[",
                "eval",
                "$(",
                "<<<",
                "read -r",
                "source ",
                "command -v",
                "if ! ",
                "while ! ",
                "&& ! ",
                "|| ! ",
                "[ -S",
                "[ ! -S",
                "[ -e",
                "[ ! -e",
                " -nt ",
                " -ot ",
                " -ef ",
            ] {
                // Awk has functions, and they are in scripts too.
                let awk = word == "function " && line.starts_with('\t');
                assert!(awk || !code.contains(word), "{}:{}: {word}", name.display(), number + 1);
            }
        }
    }
}
