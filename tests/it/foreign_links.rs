//! Symbolic links of another user where a program of root writes: refused, whatever kind of file it writes.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::support::directory::{Directory, directory};
use crate::support::pen::run_pen;
use crate::support::weblog::{MERGELOGS, PENLOGD, run};
use crate::support::{Setup, is_root, skipped, wait_until};

const STRANGER: u32 = 12345;
const PRECIOUS: &str = "precious";

/// A file of root that nobody else may read, and a directory where a stranger has put links to it.
struct Trap {
    _directory: Directory,
    victim: PathBuf,
    theirs: PathBuf,
}

impl Trap {
    /// In a sticky directory, as /tmp is, the system may refuse the links by itself; in the stranger's own one it never
    /// does.
    fn both() -> [Trap; 2] {
        let (sticky, own) = (Trap::new(), Trap::new());
        fs::set_permissions(&sticky.theirs, Permissions::from_mode(0o1777)).unwrap();
        chown(&own.theirs, Some(STRANGER), Some(STRANGER)).unwrap();
        [sticky, own]
    }

    fn new() -> Trap {
        let directory = directory();
        let (victim, theirs) = (directory.path().join("victim"), directory.path().join("theirs"));
        fs::write(&victim, PRECIOUS).unwrap();
        fs::set_permissions(&victim, Permissions::from_mode(0o600)).unwrap();
        fs::create_dir(&theirs).unwrap();
        Trap { _directory: directory, victim, theirs }
    }

    /// A link of that name.
    fn link(&self, name: &str) -> String {
        let link = self.theirs.join(name);
        symlink(&self.victim, &link).unwrap();
        lchown(&link, Some(STRANGER), Some(STRANGER)).unwrap();
        link.to_str().unwrap().to_owned()
    }

    #[track_caller]
    fn is_untouched(&self, what: &str) {
        let status = fs::metadata(&self.victim).unwrap();
        assert_eq!(fs::read_to_string(&self.victim).unwrap(), PRECIOUS, "{what}");
        assert_eq!((status.uid(), status.mode() & 0o7777), (0, 0o600), "{what}");
        let mut names = fs::read_dir(&self.theirs).unwrap().map(|entry| entry.unwrap().path());
        assert!(names.all(|name| name.is_symlink()), "{what} leaves a file");
    }
}

fn said(output: &Output) -> String {
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn no_program_writes_through_the_link_of_another_user() {
    if !is_root() {
        return skipped("links of another user", "only root can set up this attack");
    }
    for trap in Trap::both() {
        let pen = Setup::new().start();
        for command in ["web_stats", "connection_log", "log", "write"] {
            let link = trap.link(command);
            let reply = pen.try_control(&format!("{command} {link}"));
            if command == "web_stats" {
                // What is wrong with the page is told to the log alone.
                pen.try_control("status");
                pen.says(&format!("{link} is a symbolic link that belongs to another user"));
            } else {
                assert!(reply.contains("another user"), "{command}: {reply}");
            }
            trap.is_untouched(command);
        }
        let refused = [
            ("-p", "", "another user"),
            ("-l", "", "another user"),
            ("-C", "", "not a socket"),
            ("-O", "admin ", "not a socket"),
        ];
        for (option, command, why) in refused {
            let value = format!("{command}{}", trap.link(option));
            let words = ["-f", "-u", "root", option, &value, "127.0.0.1:0", "127.0.0.1:1"];
            let text = said(&run_pen(words));
            assert!(text.contains(why), "{option}: {text}");
            trap.is_untouched(option);
        }
        for option in ["-l", "-p"] {
            let link = trap.link(&format!("penlogd{option}"));
            let text = said(&run(PENLOGD, ["-f", option, &link, "127.0.0.1:0"]));
            assert!(text.contains("another user"), "penlogd {option}: {text}");
            trap.is_untouched(option);
        }
        let (pen_log, log) = (pen.write("pen", ""), pen.write("log", "a line\n"));
        let (link, log) = (trap.link("merged"), format!("10.0.0.1:{log}"));
        let text = said(&run(MERGELOGS, ["-p", &pen_log, "-o", &link, &log]));
        assert!(text.contains("another user"), "{text}");
        trap.is_untouched("mergelogs");
    }
}

/// Between two system calls, the owner of a directory can exchange what stands behind a name in it. So the files of
/// sockets are changed and removed relative to an open directory, or by descriptor.
#[test]
fn sockets_and_their_locks_are_never_changed_or_removed_by_path() {
    const CALLS: &str =
        "trace=chmod,fchmodat,chown,lchown,fchownat,unlink,unlinkat,rename,renameat,renameat2,openat";
    if std::process::Command::new("strace").arg("-V").output().is_err() {
        return skipped("system calls of sockets", "no strace");
    }
    for portable in ["0", "1"] {
        let setup = Setup::new().environment("PEN_PORTABLE", portable);
        let (trace, admin) = (setup.file("trace"), setup.file("admin"));
        let mut pen = setup
            .wrapper(&format!("strace -D -f -q -o {trace} -e {CALLS}"))
            .command(format!("admin {admin}"))
            .start();
        let control = pen.control_path();
        for path in [&control, Path::new(&admin)] {
            assert_eq!(fs::symlink_metadata(path).unwrap().mode() & 0o777, 0o600, "{}", path.display());
        }
        let pid = pen.pid().to_string();
        assert!(pen.terminate().unwrap().success());
        let traced = || fs::read_to_string(&trace).unwrap();
        wait_until("the trace of the end", || {
            traced().lines().any(|line| line.starts_with(&pid) && line.contains("+++ exited"))
        });
        let trace = traced();
        for path in [control.to_str().unwrap(), &admin] {
            let named: Vec<&str> = trace.lines().filter(|line| line.contains(path)).collect();
            assert!(named.is_empty(), "{portable}: {named:#?}");
            assert!(!Path::new(path).exists() && !Path::new(&format!("{path}.lock")).exists());
        }
        assert!(trace.contains("unlinkat("), "{portable}: nothing was traced");
    }
}
