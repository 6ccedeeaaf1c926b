//! The makefiles and what they run: which programs are packaged, for whom, and where everything goes.

use crate::support::skipped;
use crate::support::tree::{self, text, tool};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The directory of the programs under test.
fn programs() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_pen")).parent().unwrap()
}

const PROGRAMS: [&str; 5] = ["mergelogs", "pen", "penctl", "penlog", "penlogd"];

/// A makefile's targets that are no files: all but FORCE.
fn targets(makefile: &str) -> Vec<String> {
    let text = fs::read_to_string(tree::top().join(makefile)).unwrap();
    let rules = text.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()));
    let rules = rules.filter_map(|line| line.split_once(':').filter(|(_, rest)| !rest.starts_with('=')));
    rules.map(|(target, _)| target.to_owned()).collect()
}

/// Sun make ignores .PHONY, and takes a target for up to date that is the name of a directory: bench, say.
#[test]
fn no_target_is_taken_for_a_file() {
    for makefile in ["Makefile", "Makefile.sfw"] {
        let named = targets(makefile);
        assert!(named.len() > 3, "{makefile}: {named:?}");
        let rules = fs::read_to_string(tree::top().join(makefile)).unwrap();
        assert!(!rules.contains("\n.PHONY"), "{makefile}");
        let place = tempfile::tempdir().unwrap();
        fs::copy(tree::top().join(makefile), place.path().join("Makefile")).unwrap();
        for target in &named {
            fs::create_dir(place.path().join(target)).unwrap();
        }
        for make in ["make", "bmake"] {
            let Some(mut make) = tool(make) else { continue };
            let told = make.current_dir(place.path()).arg("-n").args(&named).output().unwrap();
            assert!(told.status.success(), "{}", text(&told));
            for target in &named {
                let told = Command::new(make.get_program())
                    .current_dir(place.path())
                    .args(["-n", target])
                    .output()
                    .unwrap();
                assert!(told.stdout.len() > 10, "{makefile}: {target}: {}", text(&told));
            }
        }
    }
}

/// A cargo that builds nothing and says that the programs are somewhere; what it is asked is in a file.
fn cargo_that_says(place: &Path, directory: &Path) -> PathBuf {
    let cargo = place.join("cargo");
    let script = format!(
        "#!/bin/sh\nprintf '%s\\n' \"$@\" >{asked}\nprintf '%s' \"$CARGO_ENCODED_RUSTFLAGS\" | tr '\\037' '\\n' >>{asked}\n\
         for p in {}; do echo '{{\"reason\":\"compiler-artifact\",\"executable\":\"{}/'$p'\",\"fresh\":true}}'; done\n",
        PROGRAMS.join(" "),
        directory.display(),
        asked = place.join("asked").display(),
    );
    fs::write(&cargo, script).unwrap();
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
    cargo
}

/// Wherever cargo builds, these programs are packaged and not what lies in target/release.
#[test]
fn cargo_is_asked_where_the_programs_are() {
    let Some(mut make) = tool("make") else { return };
    let place = tempfile::tempdir().unwrap();
    let elsewhere = place.path().join("else where/sparcv9-sun-solaris/release");
    fs::create_dir_all(&elsewhere).unwrap();
    for program in PROGRAMS {
        fs::write(elsewhere.join(program), format!("the new {program}")).unwrap();
    }
    let cargo = cargo_that_says(place.path(), &elsewhere);
    let root = place.path().join("proto");
    make.args(["-s", "-f", "Makefile.sfw"]).arg(format!("CARGO={}", cargo.display()));
    tree::run(make.arg(format!("ROOT={}", root.display())).arg("install"));
    for program in PROGRAMS {
        let installed = fs::read_to_string(root.join("usr/bin").join(program)).unwrap();
        assert_eq!(installed, format!("the new {program}"));
    }
    // One that does not say is an error.
    let mut silent = Command::new("make");
    silent.current_dir(tree::top()).args(["-s", "-f", "Makefile.sfw", "CARGO=true", "install"]);
    let failed = silent.arg(format!("ROOT={}", root.display())).output().unwrap();
    assert!(!failed.status.success());
    assert!(text(&failed).contains("does not say where pen is"), "{}", text(&failed));
}

/// Programs that contain nothing, and a cargo that says that it has built them.
pub(super) fn built(place: &Path) -> (PathBuf, PathBuf) {
    let directory = place.join("target/release");
    fs::create_dir_all(&directory).unwrap();
    PROGRAMS.iter().for_each(|program| fs::write(directory.join(program), "").unwrap());
    (cargo_that_says(place, &directory), directory)
}

/// Paths of the machine are mapped away, whatever flags the user has.
#[test]
fn paths_of_this_machine_are_mapped_away() {
    let place = tempfile::tempdir().unwrap();
    let (cargo, _) = built(place.path());
    let home = place.path().join("car\"go");
    fs::create_dir_all(home.join("registry/src/index-0123")).unwrap();
    let ask = |name: &str, flags: &str| {
        let mut build = Command::new("sh");
        build.arg("tools/build.sh").env("CARGO", &cargo).env("CARGO_HOME", &home);
        build.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
        if !flags.is_empty() {
            build.env(name, flags);
        }
        tree::run(&mut build);
        fs::read_to_string(place.path().join("asked")).unwrap()
    };
    let top = tree::top().display();
    let maps = [
        format!("--remap-path-prefix={}=/cargo", home.display()),
        format!("--remap-path-prefix={top}=/pen"),
        format!("--remap-path-prefix={}/registry/src/index-0123=/cargo/registry", home.display()),
    ];
    for (name, flags, kept) in [
        ("RUSTFLAGS", "-C target-cpu=native  -g", &["-C", "target-cpu=native", "-g"][..]),
        ("CARGO_ENCODED_RUSTFLAGS", "--cfg\x1ffeature=\"a b\"", &["--cfg", "feature=\"a b\""]),
    ] {
        let told = ask(name, flags);
        let last: Vec<_> = told.lines().rev().take(maps.len() + kept.len()).collect();
        let expected: Vec<_> = kept.iter().copied().chain(maps.iter().map(String::as_str)).rev().collect();
        assert_eq!(last, expected, "{name}: {told}");
    }
    let quoted: Vec<_> = maps.iter().map(|map| format!("\"{}\"", map.replace('"', "\\\""))).collect();
    let told = ask("", "");
    assert!(told.contains(&format!("target.'cfg(all())'.rustflags = [{},]", quoted.join(","))), "{told}");
}

/// Two machines make the same programs of the same sources: one that has a path of this machine in it is not delivered.
#[test]
fn a_program_that_contains_a_path_of_this_machine_is_an_error() {
    let place = tempfile::tempdir().unwrap();
    let (cargo, directory) = built(place.path());
    let home = place.path().join("car[go]");
    fs::create_dir_all(home.join("registry/src")).unwrap();
    let build = || {
        let mut build = Command::new("sh");
        build.arg(tree::top().join("tools/build.sh")).env("CARGO", &cargo).env("CARGO_HOME", &home);
        build.output().unwrap()
    };
    assert!(build().status.success(), "{}", text(&build()));
    for program in PROGRAMS {
        for path in [tree::top(), &home, &directory] {
            let file = directory.join(program);
            let mut content = b"\x7fELF\0\xff at ".to_vec();
            content.extend(path.join("src/lib.rs").as_os_str().as_encoded_bytes());
            fs::write(&file, &content).unwrap();
            let refused = build();
            let expected = format!("{} contains {}, a path of this machine", file.display(), path.display());
            assert!(!refused.status.success() && text(&refused).contains(&expected), "{}", text(&refused));
            // What the paths are mapped to may be there.
            fs::write(&file, "/pen/src/lib.rs /cargo/registry/libc/src/lib.rs").unwrap();
        }
    }
    assert!(build().status.success(), "{}", text(&build()));
}

/// A directory whose name is a part of what paths are mapped to, as /src is of /pen/src.
#[test]
fn a_short_path_of_this_machine_is_told_from_a_mapped_one() {
    let place = tempfile::tempdir().unwrap();
    let (cargo, directory) = built(place.path());
    let build = || {
        let mut build = Command::new("sh");
        build.arg(tree::top().join("tools/build.sh")).env("CARGO", &cargo).env("CARGO_HOME", "/src");
        build.output().unwrap()
    };
    let write = |content: &str| fs::write(directory.join("pen"), content).unwrap();
    write("/pen/src/lib.rs /cargo/registry/libc/src/lib.rs");
    assert!(build().status.success(), "{}", text(&build()));
    write("/src/registry/src/index/libc/src/lib.rs");
    assert!(
        text(&build()).contains("pen contains /src/registry/, a path of this machine"),
        "{}",
        text(&build())
    );
}

/// A program that could not be built is no success, though pen itself could be.
#[test]
fn a_build_that_fails_says_so() {
    let place = tempfile::tempdir().unwrap();
    let (cargo, _) = built(place.path());
    let script = fs::read_to_string(&cargo).unwrap();
    fs::write(&cargo, format!("{script}\nexit 101\n")).unwrap();
    let build = Command::new("sh").args(["tools/build.sh", "-d"]).env("CARGO", &cargo).output().unwrap();
    assert_eq!((build.status.code(), build.stdout.as_slice()), (Some(1), &b""[..]), "{}", text(&build));
}

/// A proto area of the programs under test.
fn proto_area(place: &Path) -> PathBuf {
    let root = place.join("proto");
    let mut make = Command::new("make");
    make.args(["-s", "-f", "Makefile.sfw"]).arg(format!("BINDIR={}", programs().display()));
    tree::run(make.arg(format!("ROOT={}", root.display())).arg("install"));
    root
}

/// Runs a task from a directory of the user's.
fn xtask(directory: &Path, words: &[&str]) -> Output {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut xtask = Command::new(cargo);
    xtask.arg("run").arg("--quiet").arg("--manifest-path").arg(tree::top().join("Cargo.toml"));
    xtask.args(["--package", "xtask", "--"]).args(words).current_dir(directory).output().unwrap()
}

/// What is packaged says for whom it is, and names what must be there before on the system that it is for.
#[test]
fn the_package_is_for_one_system() {
    let Some(_) = tool("make") else { return };
    let place = tempfile::tempdir().unwrap();
    let root = proto_area(place.path());
    let root = root.to_str().unwrap();
    let mut make = Command::new("make");
    let told = make.current_dir(tree::top()).args(["-n", "package", "ARGS=--system sxce"]).output().unwrap();
    assert!(text(&told).contains("xtask package --system sxce"), "{}", text(&told));
    let read = |file: &str| fs::read_to_string(place.path().join("out/SUNWpen").join(file)).unwrap();
    for system in fs::read_dir(tree::top().join("testbed/systems")).unwrap() {
        let system = system.unwrap().path();
        let name = system.file_name().unwrap().to_str().unwrap();
        // A relative path is relative to where the user is.
        let made = xtask(place.path(), &["package", "--system", name, "--root", root, "--output", "out"]);
        assert!(made.status.success(), "{}", text(&made));
        let described = fs::read_to_string(&system).unwrap();
        let there: Vec<_> =
            described.lines().find_map(|line| line.strip_prefix("packages ")).unwrap().split(' ').collect();
        let depend = read("install/depend");
        let named = depend
            .lines()
            .filter_map(|line| line.strip_prefix("P "))
            .map(|rest| rest.split('\t').next().unwrap());
        let named: Vec<_> = named.collect();
        assert!(named.len() >= 2 && named.iter().all(|package| there.contains(package)), "{name}: {named:?}");
        // Whatever the system has of the libraries that the programs need is named.
        for library in ["SUNWopenssl-libraries", "SUNWgccruntime"] {
            assert_eq!(named.contains(&library), there.contains(&library), "{name}: {library}");
        }
    }
    let refused = xtask(place.path(), &["package", "--system", "plan9", "--root", root, "--output", "out"]);
    assert!(
        text(&refused).contains("expected illumos, solaris11 or sxce, got 'plan9'"),
        "{}",
        text(&refused)
    );
    if cfg!(any(target_os = "solaris", target_os = "illumos")) {
        return;
    }
    let made = xtask(place.path(), &["package", "--root", root, "--output", "out"]);
    assert!(text(&made).contains("the package is for this machine only"), "{}", text(&made));
    let info = read("pkginfo");
    let description = info.lines().find(|line| line.starts_with("DESC=")).unwrap();
    assert!(description.contains("machine it was made on only") && description.len() < 256, "{description}");
    if cfg!(target_arch = "x86_64") {
        let refused = xtask(place.path(), &["package", "--isa", "sparc", "--root", root, "--output", "out"]);
        assert!(!refused.status.success());
        assert!(
            text(&refused).contains("usr/bin/pen in the proto area is for i386, not for sparc"),
            "{}",
            text(&refused)
        );
    }
}

/// A copy of the tree makes its package in itself, even with a task that was compiled in the original.
#[test]
fn a_copied_checkout_is_its_own() {
    let Some(_) = tool("make") else { return };
    let place = tempfile::tempdir().unwrap();
    let root = proto_area(place.path());
    let copy = place.path().join("copy");
    fs::create_dir(&copy).unwrap();
    for entry in fs::read_dir(tree::top()).unwrap().map(|entry| entry.unwrap()) {
        if !["target", ".git"].contains(&entry.file_name().to_str().unwrap()) {
            tree::run(Command::new("cp").arg("-r").arg(entry.path()).arg(&copy));
        }
    }
    // It is built by now if any test has made a package; this makes sure.
    assert!(xtask(tree::top(), &["--help"]).status.success());
    let mut task = Command::new(programs().join("xtask"));
    task.current_dir(copy.join("doc")).env_remove("CARGO_MANIFEST_DIR").env_remove("CARGO_TARGET_DIR");
    let made = task.args(["package", "--root"]).arg(&root).output().unwrap();
    assert!(made.status.success(), "{}", text(&made));
    assert!(copy.join("target/package/SUNWpen.pkg").is_file(), "{}", text(&made));
}

/// Where cargo builds elsewhere, nothing is written to the source, which may be read-only.
#[test]
fn a_read_only_source_makes_its_package_elsewhere() {
    let Some(_) = tool("make") else { return };
    let Some(mut sandbox) = tool("unshare") else { return };
    let place = tempfile::tempdir().unwrap();
    let (builder, _) = built(place.path());
    // Cargo itself says where it builds; that the programs are built already spares the test to build them again.
    let cargo = place.path().join("cargo-elsewhere");
    let real = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let script = format!(
        "#!/bin/sh\ncase $1 in metadata) exec '{real}' \"$@\" ;; esac\nexec '{}' \"$@\"\n",
        builder.display()
    );
    fs::write(&cargo, script).unwrap();
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
    // It is built by now if any test has made a package; this makes sure.
    assert!(xtask(tree::top(), &["--help"]).status.success());
    let task = programs().join("xtask");
    let elsewhere = place.path().join("else where");
    // In a mount namespace of its own the source is read-only, for root too.
    const READ_ONLY: &str = "mount --rbind . . && mount -o remount,bind,ro . || exit 77
        cd \"$PWD\" && ! touch written 2>/dev/null || exit 77
        exec \"$@\"";
    sandbox.args(["--user", "--map-root-user", "--mount", "sh", "-c", READ_ONLY, "sh"]);
    sandbox.arg(task).arg("package").current_dir(tree::top());
    sandbox.env("CARGO", &cargo).env("CARGO_TARGET_DIR", &elsewhere).env_remove("CARGO_MANIFEST_DIR");
    let made = sandbox.output().unwrap();
    if made.status.code() == Some(77) || text(&made).contains("unshare failed") {
        skipped("a read-only source", "no mount namespace");
        return;
    }
    assert!(made.status.success(), "{}", text(&made));
    for file in ["SUNWpen.pkg", "SUNWpen/pkgmap", "proto/usr/bin/pen"] {
        assert!(elsewhere.join("package").join(file).is_file(), "{file}: {}", text(&made));
    }
}

/// "make install" and "make uninstall" where there is no pkgadd(1M).
#[test]
fn installs_and_uninstalls_anywhere() {
    for make in ["make", "bmake"] {
        let Some(make) = tool(make) else { continue };
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("root");
        let run = |target: &str| {
            let mut make = Command::new(make.get_program());
            make.args(["-s", "PREFIX=/opt/pen"]).arg(format!("DESTDIR={}", root.display()));
            tree::run(make.arg(format!("BINDIR={}", programs().display())).arg(target));
        };
        run("install");
        let version = tree::run(Command::new(root.join("opt/pen/bin/penctl")).arg("--help"));
        assert!(text(&version).contains("penctl"), "{}", text(&version));
        for file in [
            "opt/pen/share/man/man1/pen.1",
            "opt/pen/share/doc/pen/HOWTO",
            "opt/pen/share/doc/pen/howto/http.txt",
            "opt/pen/share/doc/pen/examples/http.conf",
            "etc/pen/pen.conf.sample",
        ] {
            assert!(root.join(file).is_file(), "{file}");
        }
        let unit =
            fs::read_to_string(root.join("opt/pen/share/doc/pen/examples/systemd/pen.service")).unwrap();
        assert!(unit.contains("\nExecStart=/opt/pen/bin/pen -f "), "{unit}");
        // Again over what is there, and away with all but the administrator's.
        run("install");
        fs::write(root.join("etc/pen/pen.conf"), "listen 80\n").unwrap();
        run("uninstall");
        let left = |directory: &Path| -> Vec<PathBuf> {
            let (mut open, mut files) = (vec![directory.to_owned()], Vec::new());
            while let Some(path) = open.pop() {
                match fs::read_dir(&path) {
                    Ok(children) => open.extend(children.map(|child| child.unwrap().path())),
                    Err(_) => files.push(path),
                }
            }
            files
        };
        assert_eq!(left(&root), [root.join("etc/pen/pen.conf")]);
    }
}

/// The unit starts what pen accepts.
#[test]
fn the_unit_of_systemd_is_a_command_line() {
    let unit = fs::read_to_string(tree::top().join("doc/examples/systemd/pen.service")).unwrap();
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("pen.conf");
    fs::write(&file, "listen 8080\n").unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for word in ["ExecStartPre=", "ExecStart=", "ExecReload="] {
        let line = unit.lines().find_map(|line| line.strip_prefix(word)).unwrap();
        let mut words = line.split(' ').map(|word| word.replace("/etc/pen/pen.conf", file.to_str().unwrap()));
        assert_eq!(words.next().unwrap(), "/usr/local/bin/pen");
        tree::run(
            Command::new(env!("CARGO_BIN_EXE_pen"))
                .arg("--check")
                .args(words.filter(|word| word != "--check")),
        );
    }
}
