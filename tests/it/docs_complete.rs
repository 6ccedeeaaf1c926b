//! The documents tell of everything there is, and are as documents of Solaris are.

use crate::support::tree::{self, text, top};
use crate::support::weblog::{MERGELOGS, PENLOG, PENLOGD};
use pen::core::command::help::OTHERS;
use pen::core::settings::{Keyword, Setting, SslOption, ValueKind, When};
use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

fn page(name: &str) -> String {
    fs::read_to_string(top().join("man1").join(name)).unwrap()
}

/// The lines between two section headings.
fn section(page: &str, heading: &str) -> String {
    let (_, after) = page.split_once(&format!("\n.SH {heading}\n")).unwrap_or_else(|| panic!("no {heading}"));
    after.split("\n.SH ").next().unwrap().to_owned()
}

/// The sections of a page, in the order that man(5) gives them; what is between is ours.
#[test]
fn pages_have_solaris_sections() {
    const ORDER: [&str; 11] = [
        "NAME",
        "SYNOPSIS",
        "DESCRIPTION",
        "OPTIONS",
        "OPERANDS",
        "EXAMPLES",
        "EXIT STATUS",
        "FILES",
        "ATTRIBUTES",
        "SEE ALSO",
        "NOTES",
    ];
    for name in tree::files("man1", |_| true) {
        let page = fs::read_to_string(&name).unwrap();
        let name = name.display();
        let headings: Vec<_> = page.lines().filter_map(|line| line.strip_prefix(".SH ")).collect();
        let known: Vec<_> = headings.iter().filter_map(|h| ORDER.iter().position(|o| o == h)).collect();
        assert!(known.is_sorted(), "{name}: {headings:?}");
        for must in
            ["NAME", "SYNOPSIS", "DESCRIPTION", "EXAMPLES", "EXIT STATUS", "ATTRIBUTES", "SEE ALSO", "NOTES"]
        {
            assert!(headings.contains(&must), "{name}: no {must}");
        }
        for attribute in ["Availability@SUNWpen", "Interface Stability@Uncommitted"] {
            let attribute = attribute.split_once('@').unwrap();
            let table = section(&page, "ATTRIBUTES");
            let row = table.lines().find(|line| line.starts_with(attribute.0));
            assert!(row.is_some_and(|row| row.ends_with(attribute.1)), "{name}: {attribute:?}");
        }
        assert!(section(&page, "NOTES").contains("svcadm\\fR(1M)"), "{name}: NOTES does not name svcadm");
    }
}

/// What `pen --help` lists is in the page, with the same default.
#[test]
fn the_page_of_pen_tells_every_option() {
    let help = text(&tree::run(Command::new(env!("CARGO_BIN_EXE_pen")).arg("--help")));
    assert!(help.lines().all(|line| line.len() <= 80), "{help}");
    let page = page("pen.1");
    let options = section(&page, "OPTIONS");
    let listed: Vec<&str> = help.lines().filter(|line| line.trim_start().starts_with('-')).collect();
    assert!(listed.len() > 40, "{help}");
    for line in listed {
        let option = line.split_whitespace().next().unwrap().trim_end_matches("...").trim_end_matches(',');
        let named = format!("\\fB{option}\\fR");
        let Some((_, told)) = options.split_once(&named) else { panic!("OPTIONS does not tell {option}") };
        let told = told.split("\n.TP").next().unwrap();
        let default =
            line.strip_suffix(')').and_then(|line| line.rsplit_once('(')).map(|(_, default)| default);
        if let Some(default) = default.filter(|d| d.parse::<u64>().is_ok()) {
            assert!(told.contains(&format!("Default: {default}")), "{option}: default {default}: {told}");
        }
    }
}

/// The programs of the log suite: their help fits a terminal, and their pages tell every option.
#[test]
fn the_pages_of_the_log_suite_tell_every_option() {
    for (name, program) in [("penlog", PENLOG), ("penlogd", PENLOGD), ("mergelogs", MERGELOGS)] {
        let help = text(&tree::run(Command::new(program).arg("--help")));
        assert!(help.lines().all(|line| line.len() <= 80), "{help}");
        assert_eq!(help, text(&tree::run(Command::new(program).arg("-h"))));
        for option in ["-V", "--version"] {
            let version = text(&tree::run(Command::new(program).arg(option)));
            assert_eq!(version, format!("{name} {}\n", env!("CARGO_PKG_VERSION")));
        }
        let page = page(&format!("{name}.1"));
        let options = section(&page, "OPTIONS");
        let listed = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
        for option in listed.flat_map(|line| line.split("  ").next().unwrap().split(", ")) {
            let option = option.split(' ').next().unwrap().trim_end_matches("...");
            assert!(options.contains(&format!("\\fB{option}\\fR")), "{name}: OPTIONS does not tell {option}");
        }
        for heading in ["OPERANDS", "EXIT STATUS", "DIAGNOSTICS"] {
            section(&page, heading);
        }
    }
}

/// Every command is in the page of penctl, with its default if it is a number, and marked if it is for the start only.
#[test]
fn the_page_of_penctl_tells_every_command() {
    let page = page("penctl.1");
    let operands = section(&page, "OPERANDS");
    assert!(!operands.contains("Not available"), "what is there is told to be missing");
    let told = |word: &str, start: bool| {
        let named = format!("\\fB{word}\\fR");
        assert!(operands.contains(&named), "{word} is not told");
        let marked = operands.contains(&format!("{named} *"));
        assert_eq!(marked, start, "{word}: to be marked * if for the start only");
    };
    for setting in Setting::all() {
        let (word, spec) = (setting.word(), setting.spec());
        told(word, spec.when == When::Start);
        let number = matches!(spec.kind, ValueKind::Number { .. } | ValueKind::Seconds { .. });
        if number && !word.starts_with("ssl_") {
            let row = operands.lines().find(|l| l.starts_with(&format!("\\fB{word}\\fR"))).unwrap();
            assert_eq!(row.split('@').nth(1), Some(setting.default().to_string().as_str()), "{row}");
            assert_eq!(row.contains('+'), spec.grows, "{row}");
        }
    }
    for (usage, _) in OTHERS {
        for word in usage.split(", ").map(|word| word.split(' ').next().unwrap()).filter(|word| *word != "no")
        {
            told(word, false);
        }
    }
    for option in SslOption::WORDS {
        assert!(operands.contains(option), "{option}");
    }
}

/// The properties that the manifest describes are those that the page describes.
#[test]
fn the_page_of_pen_tells_every_property() {
    let manifest = fs::read_to_string(top().join("smf/pen.xml")).unwrap();
    let named = |text: &str| text.split('\'').next().unwrap().to_owned();
    let described: BTreeSet<_> = manifest.split("<prop_pattern name='").skip(1).map(named).collect();
    let page = page("pen.1");
    let properties = section(&page, "SMF PROPERTIES");
    let (_, table) = properties.split_once("PROPERTY@MEANING\n").unwrap();
    let rows = table.split("\n.TE").next().unwrap().lines().filter_map(|line| line.split_once('@'));
    let mut told: BTreeSet<_> = rows.map(|(name, _)| name.trim_end_matches(" *").to_owned()).collect();
    assert!(properties.contains("\\fBconfig/file\\fR"));
    told.insert("file".into());
    assert_eq!(told, described);
}

/// Whatever the documents for developers name is there.
#[test]
fn the_files_that_developers_are_shown_exist() {
    const AREAS: [&str; 10] =
        ["src/", "tests/", "bench/", "doc/", "etc/", "man1/", "smf/", "tools/", "fuzz/", "xtask/"];
    for document in ["ARCHITECTURE.md", "CONTRIBUTING.md"] {
        let text = fs::read_to_string(top().join(document)).unwrap();
        let words = text.split('`').skip(1).step_by(2);
        let files: Vec<&str> = words.filter(|word| AREAS.iter().any(|area| word.starts_with(area))).collect();
        assert!(files.len() > 8, "{document} names {files:?}");
        for file in files {
            assert!(top().join(file).exists(), "{document} names {file}, which is not there");
        }
    }
}

/// Plain text that a terminal of 80 columns shows as it is.
#[test]
fn documents_are_plain_text() {
    for document in tree::files("doc", |_| true) {
        let text = fs::read_to_string(&document).unwrap();
        assert!(text.ends_with('\n') && !text.ends_with("\n\n"), "{}: its end", document.display());
        for (n, line) in text.lines().enumerate() {
            let plain = line.trim_start_matches('\t').bytes().all(|byte| (b' '..=b'~').contains(&byte));
            let at = format!("{}:{}: {line}", document.display(), n + 1);
            // An expression in the JSON of Grafana has one line.
            let fits = line.len() <= 80 || document.ends_with("examples/grafana-dashboard.json");
            assert!(plain && fits && line.trim_end() == line, "{at}");
        }
    }
}

/// Each chapter is in the table of the HOWTO.
#[test]
fn the_howto_lists_its_chapters() {
    let howto = fs::read_to_string(top().join("doc/HOWTO")).unwrap();
    for chapter in tree::files("doc/howto", |_| true) {
        let name = chapter.file_name().unwrap().to_str().unwrap();
        assert!(howto.contains(&format!("\n  {name} ")), "the HOWTO does not list {name}");
    }
}
