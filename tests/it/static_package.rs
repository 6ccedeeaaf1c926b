//! The package: what the makefile installs is what the prototypes name, and what comes out is what pkgadd(1M) reads.

use super::static_build::built;
use crate::support::tree::{self, tool};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// Fills a proto area with one of the make programs; the programs are the ones under test.
fn install(make: &mut Command, root: &Path) {
    let programs = Path::new(env!("CARGO_BIN_EXE_pen")).parent().unwrap();
    make.args(["-s", "-f", "Makefile.sfw"]).arg(format!("BINDIR={}", programs.display()));
    tree::run(make.arg(format!("ROOT={}", root.display())).arg("install"));
}

/// The regular files of a proto area with their modes.
fn proto_area(root: &Path) -> BTreeMap<String, u32> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(path) = open.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        if meta.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            let name = path.strip_prefix(root).unwrap().display().to_string();
            found.insert(name, meta.permissions().mode() & 0o7777);
        }
    }
    found
}

/// The lines of a prototype in words, with what it includes.
fn prototype(name: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(tree::top().join("pkg/SUNWpen").join(name)).unwrap();
    let mut lines = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        match line.strip_prefix("!include ") {
            Some(included) => lines.extend(prototype(included)),
            None => lines.push(line.split_whitespace().map(str::to_owned).collect()),
        }
    }
    lines
}

fn matches_the_prototypes(make: Option<Command>) {
    let Some(mut make) = make else { return };
    let root = tempfile::tempdir().unwrap();
    install(&mut make, root.path());
    let installed = proto_area(root.path());
    for isa in ["prototype_i386", "prototype_sparc"] {
        let named: BTreeMap<String, u32> = prototype(isa)
            .iter()
            .filter(|words| words[0] == "f" || words[0] == "e")
            .map(|words| (words[2].clone(), u32::from_str_radix(&words[3], 8).unwrap()))
            .collect();
        assert_eq!(named, installed, "{isa} and the proto area of {make:?}");
    }
    let program = make.get_program();
    let place = tempfile::tempdir().unwrap();
    let (cargo, _) = built(place.path());
    let cargo = format!("CARGO={}", cargo.display());
    for target in ["all", "clean", "clobber"] {
        tree::run(Command::new(program).args(["-s", "-f", "Makefile.sfw", &cargo, target]));
    }
}

#[test]
fn gnu_make_installs_what_the_prototypes_name() {
    matches_the_prototypes(tool("make"));
}

#[test]
fn bsd_make_installs_what_the_prototypes_name() {
    matches_the_prototypes(tool("bmake"));
}

#[test]
fn install_needs_a_root() {
    let Some(mut make) = tool("make") else { return };
    let output = make.current_dir(tree::top()).args(["-s", "-f", "Makefile.sfw", "CARGO=true", "install"]);
    let output = output.env_remove("ROOT").output().unwrap();
    assert!(!output.status.success());
    assert!(tree::text(&output).contains("set ROOT"), "{}", tree::text(&output));
}

/// Every directory above a delivered path is named too, and nothing is above the administrator's own file.
#[test]
fn prototypes_name_whole_paths() {
    let lines = prototype("prototype_i386");
    let directories: BTreeSet<_> = lines.iter().filter(|w| w[0] == "d").map(|w| w[2].as_str()).collect();
    for words in lines.iter().filter(|w| w[0] != "i") {
        let parents = Path::new(&words[2]).ancestors().skip(1).filter(|p| !p.as_os_str().is_empty());
        for parent in parents {
            assert!(directories.contains(parent.to_str().unwrap()), "{} is not named", parent.display());
        }
        assert_ne!(words[2], "etc/pen/pen.conf");
    }
}

/// The conventions of Solaris: class, mode, owner and group by path.
fn conventions(kind: &str, path: &str) -> (&'static str, &'static str, &'static str) {
    let below = |directory: &str| path == directory || path.starts_with(&format!("{directory}/"));
    let group = if below("usr/bin") || below("lib") || below("usr/share/man") { "bin" } else { "sys" };
    match kind {
        // Its group differs between releases.
        "d" if path == "usr/share/doc" => ("none", "?", "?"),
        "d" => ("none", "0755", group),
        _ if path.ends_with(".sample") => ("sample", "0644", "sys"),
        _ if below("etc/security") => ("rbac", "0644", "sys"),
        _ if below("var/svc/manifest") => ("manifest", "0444", "sys"),
        // A program of cron's.
        _ if path.ends_with("/examples/health") => ("none", "0555", "bin"),
        _ if below("usr/share") => ("none", "0444", "bin"),
        _ => ("none", "0555", "bin"),
    }
}

/// Makes the package in a directory of its own from a proto area, at a fixed time.
fn package(root: &Path, output: &Path) -> Vec<u8> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut xtask = Command::new(cargo);
    xtask.args(["xtask", "package", "--isa", "i386", "--root"]).arg(root).arg("--output").arg(output);
    tree::run(xtask.env("SOURCE_DATE_EPOCH", "1700000000"));
    fs::read(output.join("SUNWpen.pkg")).unwrap()
}

#[test]
fn the_package_is_as_pkgadd_reads_it() {
    let Some(mut make) = tool("make") else { return };
    let place = tempfile::tempdir().unwrap();
    let root = place.path().join("proto");
    install(&mut make, &root);
    let stream = package(&root, &place.path().join("one"));

    // pkgtrans(1): a header of one block, then archives, each filled up to a block.
    assert_eq!(stream.len() % 512, 0);
    let (header, rest) = stream.split_at(512);
    let header = String::from_utf8(header.to_vec()).unwrap();
    let lines: Vec<_> = header.trim_end_matches('\0').lines().collect();
    assert_eq!((lines[0], lines[2]), ("# PaCkAgE DaTaStReAm", "# end of header"));
    let (heads, rest) = archive(rest);
    let (members, rest) = archive(rest);
    assert!(rest.is_empty(), "{} bytes behind the package", rest.len());
    assert_eq!(heads.keys().collect::<Vec<_>>(), ["SUNWpen/pkginfo", "SUNWpen/pkgmap"]);
    assert_eq!(heads["SUNWpen/pkgmap"].1, members["pkgmap"].1);

    let info = String::from_utf8(members["pkginfo"].1.clone()).unwrap();
    let parameter = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    assert_eq!(parameter("PKG"), Some("SUNWpen"));
    assert_eq!(parameter("ARCH"), Some("i386"));
    assert_eq!(parameter("BASEDIR"), Some("/"));
    assert_eq!(parameter("SUNW_PKG_ALLZONES"), Some("false"));
    assert!(parameter("VERSION").is_some_and(|v| v.starts_with(env!("CARGO_PKG_VERSION"))), "{info}");
    assert!(parameter("PSTAMP").is_some());
    assert!(!["SFWVERS", "ISA", "RELEASE"].iter().any(|token| info.contains(token)), "{info}");
    let classes: Vec<_> = parameter("CLASSES").unwrap().split(' ').collect();

    // pkgmap(4).
    let map = String::from_utf8(members["pkgmap"].1.clone()).unwrap();
    let mut map_lines = map.lines();
    let size: Vec<_> = map_lines.next().unwrap().split(' ').collect();
    assert_eq!(lines[1], format!("SUNWpen 1 {}", size[2]));
    assert_eq!(size[..2], [":", "1"]);
    let mut names = Vec::new();
    for line in map_lines {
        let words: Vec<_> = line.split(' ').collect();
        assert_eq!(words[0], "1");
        let (name, member, sums) = match words[1] {
            "i" if words[2] == "pkginfo" => (words[2], "pkginfo".to_owned(), &words[3..]),
            "i" => (words[2], format!("install/{}", words[2]), &words[3..]),
            _ => (words[3], format!("reloc/{}", words[3]), &words[7..]),
        };
        names.push(name);
        let (mode, content) = members.get(&member).unwrap_or_else(|| panic!("{member} is not in the stream"));
        if words[1] != "i" {
            let (class, octal, group) = conventions(words[1], name);
            let owner = if octal == "?" { "?" } else { "root" };
            assert_eq!(words[2..7], [class, name, octal, owner, group], "{line}");
            assert!(classes.contains(&class));
        }
        if words[1] == "d" {
            assert_eq!(mode & 0o170_000, 0o040_000, "{line}");
            continue;
        }
        assert_eq!(mode & 0o170_000, 0o100_000, "{line}");
        let told: Vec<u64> = sums.iter().map(|word| word.parse().unwrap()).collect();
        assert_eq!(told, [content.len() as u64, system_v_sum(content), 1_700_000_000], "{line}");
        if words[1] != "i" {
            assert_eq!(*content, fs::read(root.join(name)).unwrap(), "{name}");
        }
    }
    assert!(names.is_sorted(), "{names:?}");
    let listed = prototype("prototype_i386").len();
    assert_eq!(names.len(), listed, "a line of pkgmap for each of the prototype");
    for class in classes.iter().filter(|class| **class != "none") {
        assert!(names.contains(&format!("i.{class}").as_str()), "class {class} has no script");
    }

    // The directory holds the same, and another run makes the same bytes of the same inputs.
    for (name, (mode, content)) in &members {
        if mode & 0o170_000 == 0o100_000 {
            assert_eq!(fs::read(place.path().join("one/SUNWpen").join(name)).unwrap(), *content, "{name}");
        }
    }
    assert!(stream == package(&root, &place.path().join("two")), "another run made other bytes");
}

/// What is in an archive: mode and content by name.
type Members = BTreeMap<String, (u32, Vec<u8>)>;

/// Reads one ASCII cpio archive (magic 070701, see cpio(4)), and returns what follows it too.
fn archive(bytes: &[u8]) -> (Members, &[u8]) {
    let mut members = BTreeMap::new();
    let mut at = 0;
    loop {
        assert_eq!(&bytes[at..at + 6], b"070701", "at {at}");
        let field = |n: usize| {
            let digits = &bytes[at + 6 + 8 * n..at + 14 + 8 * n];
            u32::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap()
        };
        let (mode, size, name_size) = (field(1), field(6) as usize, field(11) as usize);
        let name = &bytes[at + 110..at + 110 + name_size];
        let name = std::str::from_utf8(name).unwrap().strip_suffix('\0').expect("a NUL behind the name");
        let content = at + (110 + name_size).next_multiple_of(4);
        if name == "TRAILER!!!" {
            return (members, &bytes[content.next_multiple_of(512)..]);
        }
        let twice = members.insert(name.to_owned(), (mode, bytes[content..content + size].to_vec()));
        assert!(twice.is_none(), "{name} is there twice");
        at = content + size.next_multiple_of(4);
    }
}

/// sum(1) of System V.
fn system_v_sum(content: &[u8]) -> u64 {
    let all: u64 = content.iter().map(|byte| u64::from(*byte)).sum();
    let folded = all % 65536 + (all % (1 << 32)) / 65536;
    folded % 65536 + folded / 65536
}

/// Tokio's poller has event ports, the readiness of Solaris and illumos, from this version on.
#[test]
fn the_poller_knows_event_ports() {
    let lock = fs::read_to_string(tree::top().join("Cargo.lock")).unwrap();
    let (_, after) = lock.split_once("name = \"mio\"\nversion = \"").unwrap();
    let version = after.split('"').next().unwrap();
    let numbers: Vec<u32> = version.split('.').map(|n| n.parse().unwrap()).collect();
    assert!(numbers >= vec![1, 2, 2], "mio {version}");
}
