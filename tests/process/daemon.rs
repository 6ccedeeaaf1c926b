//! Going to the background, and ending with a core file.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::process::Output;

use crate::{Test, needs_root, role};

pub(crate) const TESTS: &[Test] = &[
    ("daemon::when_the_parent_ends_it_serves", when_the_parent_ends_it_serves),
    ("daemon::a_failed_start_is_told", a_failed_start_is_told),
    ("daemon::a_silent_end_is_told", a_silent_end_is_told),
    ("daemon::an_interrupted_start_is_taken_back", an_interrupted_start_is_taken_back),
    ("daemon::refuses_beside_threads", refuses_beside_threads),
    ("daemon::usr2_leaves_a_core", usr2_leaves_a_core),
    ("daemon::portable_does_without", portable_does_without),
];

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a role to its end, which includes the end of everything it has written to.
fn output(name: &str) -> Output {
    role(name).output().expect("runs")
}

fn when_the_parent_ends_it_serves() -> Result<(), &'static str> {
    let dir = tempfile::tempdir().expect("directory");
    let here = dir.path().canonicalize().expect("directory");
    // Relative names mean the directory that pen was started in. `output` also waits for the end of the standard
    // streams, so it would hang if the daemon kept them.
    let output = role("serves").current_dir(&here).args(["socket", "pid"]).output().expect("runs");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        (text(&output.stdout), text(&output.stderr)),
        ("from the parent, once\n".into(), String::new())
    );
    let pid = fs::read_to_string(here.join("pid")).expect("is there by now");
    let mut line = String::new();
    let mut client = BufReader::new(UnixStream::connect(here.join("socket")).expect("answers by now"));
    client.read_line(&mut line).expect("answers");
    assert_eq!(line, format!("{pid} true {}\n", here.display()));
    Ok(())
}

fn a_failed_start_is_told() -> Result<(), &'static str> {
    let failed = output("fails");
    assert_eq!((failed.status.code(), text(&failed.stderr).as_str()), (Some(1), "pen: no such thing\n"));
    assert_eq!(output("fails with a status").status.code(), Some(3));
    Ok(())
}

fn a_silent_end_is_told() -> Result<(), &'static str> {
    let silent = output("ends in silence");
    assert_eq!(silent.status.code(), Some(1));
    assert_eq!(text(&silent.stderr), "pen: the background process ended before it served\n");
    let crashed = output("crashes");
    assert_eq!(crashed.status.code(), Some(1));
    assert_eq!(text(&crashed.stderr), "pen: the background process was ended by SIGABRT before it served\n");
    Ok(())
}

fn an_interrupted_start_is_taken_back() -> Result<(), &'static str> {
    let dir = tempfile::tempdir().expect("directory");
    let path = dir.path().join("socket");
    let listener = UnixListener::bind(&path).expect("binds");
    let mut starter = role("loses its starter").arg(&path).spawn().expect("runs");
    let (stream, _) = listener.accept().expect("the child connects");
    let mut lines = BufReader::new(stream.try_clone().expect("stream")).lines();
    assert_eq!(lines.next().expect("line").expect("line"), starter.id().to_string());
    starter.kill().expect("is ours");
    starter.wait().expect("is ours");
    (&stream).write_all(b"x").expect("the child reads");
    let told = lines.next().expect("line").expect("line");
    assert!(told.contains("the command that started pen is gone"), "{told}");
    Ok(())
}

fn refuses_beside_threads() -> Result<(), &'static str> {
    let refused = text(&output("has a thread").stdout);
    assert_eq!(refused, "cannot go to the background: threads are running already\n");
    Ok(())
}

fn usr2_leaves_a_core() -> Result<(), &'static str> {
    let dir = tempfile::tempdir().expect("directory");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).expect("permissions");
    let user = needs_root().map(|()| "nobody").ok();
    // The limit that is in force before shows that it is raised.
    let this = std::env::current_exe().expect("this program");
    let mut shell = std::process::Command::new("sh");
    shell.current_dir(dir.path()).env(crate::ROLE, "cores").args(["-c", "ulimit -S -c 0; exec \"$@\"", "sh"]);
    let status = shell.arg(this).args(user).status().expect("runs");
    assert_eq!(status.signal(), Some(libc::SIGABRT));
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    if pattern.trim_end() == "core" && core_limit() > 0 {
        assert!(status.core_dumped(), "as {user:?}");
        let mut start = [0; 4];
        let core =
            fs::read_dir(dir.path()).expect("directory").next().expect("a core file").expect("a core file");
        fs::File::open(core.path()).and_then(|mut file| file.read_exact(&mut start)).expect("readable");
        assert_eq!(&start, b"\x7fELF");
    }
    Ok(())
}

fn core_limit() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Core).maximum.unwrap_or(u64::MAX)
}

fn portable_does_without() -> Result<(), &'static str> {
    let output = role("portable").env("PEN_PORTABLE", "1").output().expect("runs");
    assert_eq!(text(&output.stdout), "true this system has no transparent connections\n");
    Ok(())
}
