//! What pen has from whoever starts it, which it must get along with.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use nix::sys::signal::Signal;

use crate::support::backend::{Backend, greeters};
use crate::support::{Pen, Setup, wait_until};

/// A pen that is started by these lines of shell.
fn started_by(setup: Setup, lines: &str) -> Setup {
    let script = setup.write("starter", format!("{lines}\n"));
    setup.wrapper(&format!("sh {script}"))
}

/// Asks for its configuration to be read again, and waits until it is.
fn reloads(pen: &Pen) {
    pen.write("config", "client_acl 3\n");
    pen.signal(Signal::SIGHUP);
    wait_until("the file to be read again", || pen.control("client_acl") == "3\n");
}

fn with_file(setup: Setup) -> Setup {
    let file = setup.write("config", "client_acl 0\n");
    setup.options(format!("-F {file}"))
}

#[test]
fn blocked_and_ignored_signals_are_heard() {
    for how in ["--block-signal", "--ignore-signal=HUP --ignore-signal=TERM --ignore-signal=CHLD"] {
        for daemon in [false, true] {
            let setup = with_file(Setup::new()).wrapper(&format!("env {how}"));
            let mut pen = if daemon { setup.daemon() } else { setup }.start();
            reloads(&pen);
            pen.terminate();
            assert!(!Path::new(&pen.file("pid")).exists(), "{how}");
        }
    }
}

/// As a shell without job control has what it starts in the background ignore it.
#[test]
fn an_interrupt_that_is_ignored_stays_so() {
    let mut pen = with_file(Setup::new()).wrapper("env --ignore-signal=INT").start();
    pen.signal(Signal::SIGINT);
    reloads(&pen);
    assert!(pen.terminate().unwrap().success());
}

#[test]
fn the_failure_of_a_start_is_told_by_whoever_waits_for_nobody() {
    let setup =
        Setup::new().daemon().wrapper("env --ignore-signal=CHLD").options("-p /nonexistent/pid").no_probe();
    let failure = setup.fixed_port().try_start().unwrap_err();
    assert_eq!(failure.status.code(), Some(1), "{failure:?}");
    assert!(failure.stderr.contains("/nonexistent/pid"), "{failure:?}");
    assert!(!failure.stderr.contains("ended before it served"), "{failure:?}");
}

#[test]
fn closed_standard_streams_are_nobodys_socket() {
    let backends = greeters(1);
    for daemon in [false, true] {
        let setup = started_by(Setup::new(), r#"exec "$@" <&- >&- 2>&-"#).servers(&backends);
        let pen = if daemon { setup.daemon() } else { setup }.start();
        assert_eq!(pen.choices([2, 3]), "A A");
        for number in 0..3 {
            let target = std::fs::read_link(format!("/proc/{}/fd/{number}", pen.pid())).unwrap();
            assert_eq!(target, Path::new("/dev/null"));
        }
    }
}

#[test]
fn a_daemon_keeps_nothing_open_that_it_was_started_with() {
    let setup = Setup::new();
    let lock = setup.file("lock");
    let pen = started_by(setup, &format!(r#"exec 9>{lock}; exec "$@""#)).daemon().start();
    let open = std::fs::read_dir(format!("/proc/{}/fd", pen.pid())).unwrap();
    let targets = open.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
    assert!(!targets.into_iter().any(|target| target == Path::new(&lock)));
}

#[test]
fn a_working_directory_that_is_gone_is_not_needed() {
    let backends = greeters(1);
    let setup = Setup::new();
    let gone = setup.file("gone");
    let pen = started_by(setup, &format!(r#"mkdir {gone}; cd {gone}; rmdir {gone}; exec "$@""#));
    assert_eq!(pen.servers(&backends).start().choices([2, 3]), "A A");
}

#[test]
fn a_limit_of_the_size_of_files_costs_lines_of_the_log_and_nothing_else() {
    let backend = Backend::recorder("");
    let setup = Setup::new().wrapper("prlimit --fsize=1024");
    let log = setup.file("log");
    let pen = setup.options(format!("-l {log}")).server(backend.address()).start();
    // A line of the log has some 120 bytes at most.
    for _ in 0..60 {
        let mut client = pen.client();
        client.send(format!("GET /{} HTTP/1.0\r\n\r\n", "x".repeat(100)));
        client.finish();
        client.rest();
    }
    pen.says("cannot write log");
    assert!(pen.answers());
    assert!(std::fs::metadata(&log).unwrap().len() <= 1024);
}

#[test]
fn nobody_else_may_write_what_pen_makes_whatever_the_umask() {
    for (mask, mode) in [("000", 0o644), ("077", 0o600)] {
        let setup = Setup::new();
        let (log, page) = (setup.file("log"), setup.file("page.html"));
        let setup = started_by(setup, &format!(r#"umask {mask}; exec "$@""#));
        let pen = setup.command(format!("log {log}")).command(format!("web_stats {page}")).start();
        pen.control("status");
        let found = |name: &str| std::fs::metadata(name).unwrap().permissions().mode() & 0o777;
        assert_eq!([found(&log), found(&page), found(&pen.file("pid"))], [mode; 3], "umask {mask}");
        assert_eq!(found(&pen.file("control")), 0o600);
    }
}
