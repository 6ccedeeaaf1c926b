//! Going to the background, becoming another user, living in a jail.

use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;

use crate::support::backend::{Backend, greeters};
use crate::support::directory::{directory, give_to_nobody};
use crate::support::process;
use crate::support::{Pen, Setup, is_root, skipped, wait_until};

#[test]
fn when_the_parent_returns_pen_serves_and_has_its_pid_file() {
    let backends = greeters(1);
    for _ in 0..5 {
        let setup = Setup::new().daemon().servers(&backends);
        // The harness reads the pid file right after the parent's end, and does not wait for it.
        let mut pen = setup.start();
        assert_eq!(pen.choice(2), "A");
        assert!(process::is_alive(pen.pid()));
        pen.terminate();
        assert!(!pen.path().join("pid").exists());
    }
}

#[test]
fn a_daemon_is_free_of_its_caller() {
    let pen = Setup::new().daemon().start();
    let pid = pen.pid();
    for fd in 0..3 {
        assert_eq!(fs::read_link(format!("/proc/{pid}/fd/{fd}")).unwrap(), Path::new("/dev/null"));
    }
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ours = fs::read_to_string("/proc/self/stat").unwrap();
    let our_session = ours.rsplit_once(')').unwrap().1.split_whitespace().nth(3).unwrap().to_owned();
    // Field 6 is the session, 7 the terminal.
    assert_ne!(fields[3], our_session);
    assert_eq!(fields[4], "0");
}

#[test]
fn a_start_that_fails_tells_why_before_the_parent_returns() {
    let taken = Backend::greeter("taken");
    let setup = || Setup::new().daemon().fixed_port();
    for (setup, words) in [
        (setup().listen(taken.address()), "in use"),
        (setup().options("-l /nonexistent/dir/log"), "/nonexistent/dir/log"),
        (setup().options("-p /nonexistent/dir/pid"), "/nonexistent/dir/pid"),
        (setup().options("-u nosuchuser"), "nosuchuser"),
        (setup().options("-j /nonexistent/dir"), "/nonexistent/dir"),
        (setup().options("-C /nonexistent/dir/control"), "/nonexistent/dir/control"),
    ] {
        let failure = setup.try_start().expect_err(words);
        assert!(!failure.status.success());
        assert!(failure.stderr.contains(words), "{words}: {failure:?}");
    }
}

#[test]
fn a_failed_start_leaves_no_process_behind() {
    let setup = Setup::new().daemon().fixed_port().options("-l /nonexistent/dir/log");
    let directory = setup.path().to_str().unwrap().to_owned();
    setup.try_start().unwrap_err();
    let lines = || {
        let processes = fs::read_dir("/proc").unwrap().flatten();
        processes
            .filter(|p| {
                fs::read(p.path().join("cmdline"))
                    .is_ok_and(|c| String::from_utf8_lossy(&c).contains(&directory))
            })
            .count()
    };
    wait_until("it to be gone", || lines() == 0);
}

fn as_nobody(setup: Setup) -> Setup {
    give_to_nobody(setup.path());
    setup.options("-u nobody")
}

/// The user, the groups and the rights of every thread of pen.
fn identities(pen: &Pen) -> Vec<(String, String, String, [String; 3])> {
    let tasks = fs::read_dir(format!("/proc/{}/task", pen.pid())).unwrap();
    tasks
        .flatten()
        .map(|task| {
            let id = task.file_name().to_str().unwrap().parse().unwrap();
            let field = |name| process::status(id, name).unwrap_or_default();
            let rights = ["CapPrm", "CapBnd", "NoNewPrivs"].map(field);
            (field("Uid"), field("Gid"), field("Groups"), rights)
        })
        .collect()
}

#[test]
fn privileges_are_dropped_for_good() {
    if !is_root() {
        return skipped("-u", "needs root");
    }
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    let four_times = |id: u32| [id.to_string(), id.to_string(), id.to_string(), id.to_string()].join("\t");
    let backends = greeters(1);
    for daemon in [false, true] {
        let setup = as_nobody(Setup::new()).servers(&backends);
        let pen = if daemon { setup.daemon() } else { setup }.start();
        assert_eq!(pen.choice(2), "A");
        let identities = identities(&pen);
        assert!(identities.len() >= 2, "{identities:?}");
        for (uid, gid, groups, [capabilities, bound, no_new]) in identities {
            assert_eq!(uid, four_times(nobody.uid.as_raw()));
            assert_eq!(gid, four_times(nobody.gid.as_raw()));
            assert!(groups.is_empty() || groups == nobody.gid.to_string(), "groups {groups}");
            assert!(capabilities.trim_start_matches('0').is_empty(), "capabilities {capabilities}");
            // Nor can a program that is set-user-ID or has capabilities give it any.
            assert!(bound.trim_start_matches('0').is_empty(), "bounding set {bound}");
            assert_eq!(no_new, "1");
        }
    }
}

#[test]
fn a_user_may_be_a_number_without_a_name() {
    if !is_root() {
        return skipped("-u", "needs root");
    }
    const NUMBER: u32 = 1_999_999_999;
    assert!(nix::unistd::User::from_uid(NUMBER.into()).unwrap().is_none());
    let setup = Setup::new();
    std::os::unix::fs::chown(setup.path(), Some(NUMBER), Some(NUMBER)).unwrap();
    let backends = greeters(1);
    let pen = setup.options(format!("-u {NUMBER}")).servers(&backends).start();
    assert_eq!(pen.choice(2), "A");
    let four_times =
        [NUMBER.to_string(), NUMBER.to_string(), NUMBER.to_string(), NUMBER.to_string()].join("\t");
    for (uid, gid, groups, [capabilities, ..]) in identities(&pen) {
        assert_eq!([uid, gid], [four_times.clone(), four_times.clone()]);
        assert_eq!(groups, NUMBER.to_string());
        assert!(capabilities.trim_start_matches('0').is_empty(), "capabilities {capabilities}");
    }
}

#[test]
fn the_log_and_the_pid_file_are_the_new_users() {
    use std::os::unix::fs::MetadataExt as _;
    if !is_root() {
        return skipped("-u", "needs root");
    }
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    let setup = as_nobody(Setup::new());
    let log = setup.file("log");
    let mut pen = setup.options(format!("-l {log}")).start();
    for file in [&log, &pen.file("pid")] {
        assert_eq!(fs::metadata(file).unwrap().uid(), nobody.uid.as_raw(), "{file}");
    }
    pen.terminate();
    assert!(!pen.path().join("pid").exists());
}

#[test]
fn what_the_new_user_may_not_write_is_a_clear_error() {
    if !is_root() {
        return skipped("-u", "needs root");
    }
    let setup = Setup::new();
    let file = setup.write("file", "blacklist 5\n");
    let inside = setup.path().join("own");
    fs::create_dir(&inside).unwrap();
    give_to_nobody(&inside);
    let pid = inside.join("pid");
    let pen = setup.options(format!("-u nobody -F {file}")).pid_file(&pid, pid.to_str().unwrap()).start();
    let reply = pen.control("write");
    assert!(reply.starts_with("error: write") && reply.contains(&file), "{reply}");
    assert_eq!(pen.read("file"), "blacklist 5\n");
}

#[test]
fn what_is_written_anew_stays_its_owners() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
    if !is_root() {
        return skipped("write keeps the owner", "needs root");
    }
    let setup = Setup::new();
    let file = setup.write("file", "blacklist 5\n");
    chown(&file, Some(1234), Some(2345)).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let pen = setup.options(format!("-F {file}")).start();
    pen.control("blacklist 6");
    assert_eq!(pen.control("write"), "");
    assert!(pen.read("file").contains("blacklist 6\n"), "{}", pen.read("file"));
    let found = fs::metadata(&file).unwrap();
    assert_eq!((found.uid(), found.gid(), found.mode() & 0o7777), (1234, 2345, 0o640));
}

#[test]
fn a_jail_holds_pen_and_its_log_is_reopened_inside() {
    if !is_root() {
        return skipped("-j", "needs root");
    }
    let recorder = Backend::recorder("ok");
    let jail = directory();
    give_to_nobody(jail.path());
    for daemon in [false, true] {
        let setup = as_nobody(Setup::new());
        let setup = setup
            .options(format!("-j {} -l /log", jail.path().display()))
            .pid_file(&jail.path().join("pid"), "/pid")
            .server(recorder.address());
        let mut pen = if daemon { setup.daemon() } else { setup }.start();
        // C pen left its working directory outside.
        for link in ["root", "cwd"] {
            let at = fs::read_link(format!("/proc/{}/{link}", pen.pid())).unwrap();
            assert_eq!(at, fs::canonicalize(jail.path()).unwrap(), "{link}");
        }
        let request = |text: &str| {
            let mut client = pen.client();
            client.send(text);
            client.finish();
            assert_eq!(client.text(), "ok");
        };
        let (log, old) = (jail.path().join("log"), jail.path().join("old"));
        let holds = |file: &Path, text: &str| fs::read_to_string(file).is_ok_and(|t| t.contains(text));
        request("one\n");
        wait_until("the first line", || holds(&log, "one"));
        fs::rename(&log, &old).unwrap();
        pen.signal(Signal::SIGHUP);
        wait_until("the new log", || log.exists());
        request("two\n");
        wait_until("the second line", || holds(&log, "two"));
        assert!(!holds(&old, "two"));
        // Names are resolved before the jail closes, and addresses need none.
        pen.control("server 1 address 127.0.0.1 port 1");
        pen.terminate();
        assert!(!jail.path().join("pid").exists());
        fs::remove_file(&log).unwrap();
    }
}
