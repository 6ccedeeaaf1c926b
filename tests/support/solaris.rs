//! Tests of the installed package and its service.
//!
//! They call the commands of Solaris by name, and run directly if these are on PATH. Elsewhere a test runs itself again
//! in a sandbox that has stand-ins with the same names (see testbed/); only this file handles that.

use super::tree;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

/// Declares tests that need Solaris's commands.
macro_rules! on_solaris {
    ($($(#[$attribute:meta])* fn $name:ident() $body:block)*) => {$(
        $(#[$attribute])*
        #[test]
        fn $name() {
            $crate::support::solaris::here_or_in_a_sandbox(concat!(module_path!(), "::", stringify!($name)), || $body);
        }
    )*};
}
pub(crate) use on_solaris;

/// Runs the body of the test with this path: here, or by a copy of this program in a sandbox.
pub(crate) fn here_or_in_a_sandbox(path: &str, body: impl FnOnce()) {
    let native = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .any(|directory| directory.join("svcadm").is_file());
    if native {
        // The tests share one system with a single service.
        let lock = fs::File::create(std::env::temp_dir().join("pen-install-tests")).unwrap();
        let _alone = nix::fcntl::Flock::lock(lock, nix::fcntl::FlockArg::LockExclusive).unwrap();
        return body();
    }
    build_testbed();
    let programs = Path::new(env!("CARGO_BIN_EXE_pen")).parent().unwrap();
    let (_, test) = path.split_once("::").unwrap();
    let mut sandbox = Command::new("sh");
    sandbox.current_dir(tree::top()).arg("testbed/sandbox.sh").arg("-b").arg(programs);
    if Path::new("/usr/bin/ksh93").exists() {
        // The shell that is /bin/sh on Solaris 11.
        sandbox.args(["-s", "ksh93"]);
    }
    let package = package();
    sandbox.env("PEN_TEST_PACKAGE", package).arg(std::env::current_exe().unwrap());
    let output = sandbox.args(["--exact", test, "--nocapture", "--include-ignored"]).output().unwrap();
    let said = tree::text(&output);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "in the sandbox: {}\n{said}",
        output.status
    );
    // Repeats the messages about skipped tests outside, where they are looked for.
    said.lines().filter(|line| line.starts_with("skipped: ")).for_each(|line| eprintln!("{line}"));
}

/// Builds the stand-ins, once per run of nextest.
fn build_testbed() {
    let built = std::env::var("NEXTEST_RUN_ID")
        .ok()
        .map(|run| Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("testbed-of-run-{run}")));
    if built.as_ref().is_some_and(|built| built.exists()) {
        return;
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    tree::run(Command::new(cargo).args(["build", "--quiet", "--package", "pen-testbed"]));
    if let Some(built) = built {
        remove_others("testbed-of-run-", &built);
        fs::write(built, "").unwrap();
    }
}

/// Removes directories of earlier runs whose names begin with `prefix`.
fn remove_others(prefix: &str, this: &Path) {
    for old in fs::read_dir(env!("CARGO_TARGET_TMPDIR")).unwrap().flatten() {
        if old.file_name().to_string_lossy().starts_with(prefix) && old.path() != this {
            _ = fs::remove_file(old.path()).or_else(|_| fs::remove_dir_all(old.path()));
        }
    }
}

/// Copies the programs without their debugging information, which is most of their size and which no test needs.
fn stripped(named: &[PathBuf], directory: &Path) -> PathBuf {
    let lean = directory.join("programs");
    fs::create_dir(&lean).unwrap();
    for program in named {
        let copy = lean.join(program.file_name().unwrap());
        let strip = Command::new("strip").arg("-o").arg(&copy).arg(program).output();
        if !strip.is_ok_and(|output| output.status.success()) {
            fs::copy(program, &copy).unwrap();
        }
    }
    lean
}

/// The directory with SUNWpen for the programs under test, rebuilt when anything in it has changed.
pub(crate) fn package() -> PathBuf {
    if let Some(made) = std::env::var_os("PEN_TEST_PACKAGE") {
        return made.into();
    }
    let programs = Path::new(env!("CARGO_BIN_EXE_pen")).parent().unwrap();
    let inputs = ["pkg", "smf", "etc", "man1", "doc", "Makefile.sfw", "install-sfw"]
        .map(|input| tree::top().join(input));
    let named = ["pen", "penctl", "penlog", "penlogd", "mergelogs"].map(|p| programs.join(p));
    let newest = inputs.iter().chain(&named).flat_map(|input| newest(input)).max().unwrap();
    let age = newest.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
    let done = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("package-{age}"));
    if !done.is_dir() {
        remove_others("package-", &done);
        let made = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let mut make = Command::new("make");
        make.args(["-s", "-f", "Makefile.sfw"]);
        make.arg(format!("BINDIR={}", stripped(&named, made.path()).display())).arg("install");
        make.arg(format!("ROOT={}", made.path().join("proto").display()));
        tree::run(&mut make);
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut xtask = Command::new(cargo);
        xtask.args(["xtask", "package", "--root"]).arg(made.path().join("proto"));
        tree::run(xtask.arg("--output").arg(made.path().join("package")));
        // Another test may have been faster; its package is equivalent.
        _ = fs::rename(made.path().join("package"), &done);
        assert!(done.is_dir());
    }
    done
}

fn newest(path: &Path) -> Option<SystemTime> {
    let meta = fs::symlink_metadata(path).ok()?;
    let children = if meta.is_dir() { fs::read_dir(path).ok() } else { None };
    children.into_iter().flatten().filter_map(|c| newest(&c.ok()?.path())).chain(meta.modified().ok()).max()
}

/// Runs a command line.
pub(crate) fn try_run(line: &[&str]) -> Output {
    let (program, words) = line.split_first().unwrap();
    Command::new(program).args(words).output().unwrap_or_else(|e| panic!("{program}: {e}"))
}

/// Runs a command that must succeed, and returns its standard output.
pub(crate) fn run(line: &[&str]) -> String {
    let output = try_run(line);
    assert!(output.status.success(), "{line:?}: {}\n{}", output.status, tree::text(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// An admin(4) file under which pkgadd and pkgrm ask nothing.
pub(crate) fn admin() -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let checks = ["partial", "runlevel", "idepend", "rdepend", "space", "setuid", "conflict", "action"];
    let checks = checks.map(|check| format!("{check}=nocheck\n")).concat();
    write!(file, "mail=\ninstance=overwrite\n{checks}basedir=default\n").unwrap();
    file
}

/// Installs the package from its directory.
pub(crate) fn pkgadd(directory: &Path) {
    let admin = admin();
    let admin = admin.path().to_str().unwrap();
    run(&["pkgadd", "-n", "-a", admin, "-d", directory.to_str().unwrap(), "SUNWpen"]);
}

/// A copy of the package in a separate directory, for a test to change.
pub(crate) struct Altered(tempfile::TempDir);

impl Altered {
    pub(crate) fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let from = package().join("SUNWpen");
        run(&["cp", "-r", from.to_str().unwrap(), place.path().join("SUNWpen").to_str().unwrap()]);
        Self(place)
    }

    /// The directory to install from.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Changes the contents of a delivered file, and updates its numbers in pkgmap.
    pub(crate) fn file(self, name: &str, content: &str) -> Self {
        let path = self.path().join("SUNWpen/reloc").join(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(&path, content).unwrap();
        self.numbers(&format!(" {name} "), content)
    }

    /// Changes the version of the package.
    pub(crate) fn version(self, version: &str) -> Self {
        let path = self.path().join("SUNWpen/pkginfo");
        let text = fs::read_to_string(&path).unwrap();
        let lines = text.lines().map(|line| match line.starts_with("VERSION=") {
            true => format!("VERSION={version}\n"),
            false => format!("{line}\n"),
        });
        let text: String = lines.collect();
        fs::write(&path, &text).unwrap();
        self.numbers(" i pkginfo ", &text)
    }

    /// Writes size, sum and time into the line of pkgmap(4) that contains this part.
    fn numbers(self, part: &str, content: &str) -> Self {
        let sum = content.bytes().map(u64::from).sum::<u64>();
        let sum = sum % 65536 + sum / 65536;
        let sum = sum % 65536 + sum / 65536;
        let path = self.path().join("SUNWpen/pkgmap");
        let map = fs::read_to_string(&path).unwrap();
        let lines = map.lines().map(|line| match line.contains(part) {
            true => {
                let words: Vec<_> = line.split(' ').collect();
                let (kept, _) = words.split_at(words.len() - 3);
                format!("{} {} {sum} 1800000000\n", kept.join(" "), content.len())
            }
            false => format!("{line}\n"),
        });
        fs::write(&path, lines.collect::<String>()).unwrap();
        self
    }
}

/// The state of an instance.
pub(crate) fn state(fmri: &str) -> String {
    run(&["svcs", "-H", "-o", "STATE", fmri]).trim().to_owned()
}

/// The log of an instance.
pub(crate) fn log(instance: &str) -> String {
    fs::read_to_string(format!("/var/svc/log/network-pen:{instance}.log")).unwrap()
}

/// The process ID of an instance that serves.
pub(crate) fn pid(fmri: &str) -> String {
    let listed = run(&["svcs", "-H", "-p", fmri]);
    let pids: Vec<_> = listed.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)).collect();
    assert_eq!(pids.len(), 1, "{listed}");
    pids[0].to_owned()
}

/// Starts an HTTP server that answers with its name, and returns its port. It ends with the test.
pub(crate) fn web_server(name: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let Ok(client) = client else { continue };
            std::thread::spawn(move || answer(client, name));
        }
    });
    port
}

/// Answers every request on a connection.
fn answer(client: TcpStream, name: &str) {
    let mut requests = BufReader::new(client.try_clone().unwrap());
    let mut client = client;
    let mut line = String::new();
    while requests.read_line(&mut line).is_ok_and(|n| n > 0) {
        if line == "\r\n" {
            let reply = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len());
            if client.write_all(reply.as_bytes()).is_err() {
                return;
            }
        }
        line.clear();
    }
}

/// A client's connection.
pub(crate) struct Client(TcpStream);

impl Client {
    /// Connects to a port of this machine.
    pub(crate) fn connect(port: u16) -> std::io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self(stream))
    }

    /// Sends one request; returns the body of the reply.
    pub(crate) fn get(&mut self) -> std::io::Result<String> {
        self.0.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        let mut reply = BufReader::new(&self.0);
        let (mut line, mut length) = (String::new(), 0);
        while line != "\r\n" {
            line.clear();
            if reply.read_line(&mut line)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(number) = line.strip_prefix("Content-Length: ") {
                length = number.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        reply.read_exact(&mut body)?;
        Ok(String::from_utf8(body).unwrap())
    }
}

/// Sends one request on a new connection.
pub(crate) fn get(port: u16) -> String {
    Client::connect(port).and_then(|mut client| client.get()).unwrap_or_else(|e| panic!("port {port}: {e}"))
}
