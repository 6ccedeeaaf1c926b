//! Toy packages, and scripts that run in the sandbox.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Whether a sandbox is impossible here; prints that. A test that checks this first passes without testing anything.
pub(crate) fn skipped() -> bool {
    let root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    let mut unshare = Command::new("unshare");
    let possible = root || {
        unshare.args(["--user", "--map-root-user", "--map-auto", "true"]);
        unshare.output().is_ok_and(|output| output.status.success())
    };
    if !possible {
        eprintln!("skipped: neither root nor a user namespace with a range of ids, which a sandbox needs");
    }
    !possible
}

/// Runs a shell script in the sandbox with `$1` = `dir`, `$2` = the directory of sandbox.sh, `$3` = that of the
/// stand-ins.
pub(crate) fn run(dir: &Path, script: &str) -> Output {
    let bin = Path::new(env!("CARGO_BIN_EXE_pkgadd")).parent().unwrap();
    let runner = Path::new(env!("CARGO_MANIFEST_DIR")).join("sandbox.sh");
    let mut command = Command::new(runner);
    command.arg("-b").arg(bin).args(["/bin/sh", "-euc", &format!("{HELPERS}\n{script}"), "script"]).arg(dir);
    command.arg(env!("CARGO_MANIFEST_DIR")).arg(bin);
    command.output().unwrap()
}

/// The same; fails the test unless the script ends with status 0, and returns its output.
pub(crate) fn sandbox(dir: &Path, script: &str) -> String {
    let output = run(dir, script);
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{text}", output.status);
    text
}

/// `is GOT WANTED`, `has TEXT PART`, `status WANTED COMMAND...`: each ends the script on a mismatch.
const HELPERS: &str = r#"
is() { [ "$1" = "$2" ] || { echo "expected <$2>, got <$1>" >&2; exit 1; }; }
has() { case $1 in *"$2"*) ;; *) echo "no <$2> in <$1>" >&2; exit 1 ;; esac; }
hasnt() { case $1 in *"$2"*) echo "<$2> in <$1>" >&2; exit 1 ;; *) ;; esac; }
status() {
    want=$1 got=0; shift
    out=$("$@" 2>&1) || got=$?
    [ "$got" = "$want" ] || { echo "status $got, not $want: $*: $out" >&2; exit 1; }
}
yes_admin() {
    printf 'mail=\ninstance=%s\npartial=nocheck\nrunlevel=nocheck\nidepend=quit\nrdepend=quit\nspace=quit\nsetuid=quit\nconflict=quit\naction=nocheck\nbasedir=default\n' "${1-unique}" >/tmp/admin
}
"#;

/// A package under construction: objects and scripts, to be written as a directory or a datastream.
pub(crate) struct Toy {
    name: &'static str,
    info: String,
    map: Vec<String>,
    files: Vec<(PathBuf, Vec<u8>)>,
}

impl Toy {
    pub(crate) fn new(name: &'static str, version: &str, classes: &str) -> Toy {
        let info = format!(
            "PKG={name}\nNAME=\"Toy service\"\nARCH=i386\nVERSION={version}\nCATEGORY=application,toys\n\
             BASEDIR=/\nCLASSES={classes}\nPSTAMP=toy\n"
        );
        Toy { name, info, map: Vec::new(), files: Vec::new() }
    }

    /// Adds a parameter of pkginfo(4).
    pub(crate) fn info(mut self, line: &str) -> Toy {
        self.info.push_str(line);
        self.info.push('\n');
        self
    }

    pub(crate) fn line(mut self, line: &str) -> Toy {
        self.map.push(format!("1 {line}"));
        self
    }

    /// A regular file: kind and class, path, mode owner group, content.
    pub(crate) fn file(mut self, kind: &str, path: &str, attributes: &str, content: &str) -> Toy {
        let numbers = numbers(content);
        self.map.push(format!("1 {kind} {path} {attributes} {numbers}"));
        let place = match path.strip_prefix('/') {
            Some(path) => Path::new("root").join(path),
            None => Path::new("reloc").join(path),
        };
        self.files.push((place, content.into()));
        self
    }

    pub(crate) fn script(mut self, name: &str, content: &str) -> Toy {
        self.map.push(format!("1 i {name} {}", numbers(content)));
        self.files.push((Path::new("install").join(name), content.into()));
        self
    }

    /// Writes DIR/NAME, the directory format.
    pub(crate) fn write(&self, dir: &Path) {
        let dir = dir.join(self.name);
        for (path, content) in self.all() {
            let path = dir.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
    }

    fn all(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut map = ": 1 100\n".to_owned();
        for line in &self.map {
            writeln!(map, "{line}").unwrap();
        }
        writeln!(map, "1 i pkginfo {}", numbers(&self.info)).unwrap();
        let mut files =
            vec![("pkginfo".into(), self.info.clone().into_bytes()), ("pkgmap".into(), map.into_bytes())];
        files.extend(self.files.iter().cloned());
        files
    }

    /// Writes DIR/NAME.pkg, the datastream.
    pub(crate) fn datastream(&self, dir: &Path) {
        let all = self.all();
        let first =
            all.iter().take(2).map(|(path, content)| (Path::new(self.name).join(path), content.clone()));
        let mut data = format!("# PaCkAgE DaTaStReAm\n{} 1 100\n# end of header\n", self.name).into_bytes();
        data.resize(data.len().next_multiple_of(512), 0);
        for files in [first.collect(), all] {
            let mut archive = Vec::new();
            for (path, content) in files {
                let entry = cpio::NewcBuilder::new(path.to_str().unwrap()).mode(0o100_644);
                let mut writer = entry.write(archive, u32::try_from(content.len()).unwrap());
                std::io::Write::write_all(&mut writer, &content).unwrap();
                archive = writer.finish().unwrap();
            }
            archive = cpio::newc::trailer(archive).unwrap();
            archive.resize(archive.len().next_multiple_of(512), 0);
            data.extend(archive);
        }
        fs::write(dir.join(self.name).with_extension("pkg"), data).unwrap();
    }
}

/// Size, System V checksum and modification time of a pkgmap line.
fn numbers(content: &str) -> String {
    let sum: u32 = content.bytes().map(u32::from).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    format!("{} {} 1262304000", content.len(), (folded & 0xffff) + (folded >> 16))
}
