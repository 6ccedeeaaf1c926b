//! Out of descriptors: pen waits without burning anything, says so once, and goes on when there are some again.

use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::backend::{Backend, BlackHole, greeters};
use crate::support::{Client, Pen, Setup, Stopwatch, is_root, process, skipped, wait_until};

/// Sets how many descriptors pen may have from now on. False when the system has no prlimit(1).
fn limit(pen: &Pen, descriptors: usize) -> bool {
    let pid = pen.pid().to_string();
    let soft = format!("--nofile={descriptors}:");
    Command::new("prlimit").args(["--pid", &pid, &soft]).status().is_ok_and(|s| s.success())
}

#[test]
fn without_descriptors_it_pauses_says_so_once_and_resumes() {
    let backends = greeters(1);
    let pen = Setup::new().servers(&backends).start();
    let (_held, _) = pen.hold(2);
    pen.has_no_control_connections();
    let free = process::first_free_descriptor(pen.pid());
    if !limit(&pen, free) {
        return skipped("descriptors", "no prlimit");
    }
    let mut waiting: Vec<Client> = (0..10).map(|_| pen.client()).collect();
    pen.says("no new connections for now");
    // C pen ended; a loop over accept(2) would take all of a processor.
    process::uses_at_most(pen.pid(), Duration::from_millis(60), || {
        assert!(waiting[0].is_silent_for(Duration::from_millis(1200)));
    });
    assert_eq!(pen.stderr().matches("no new connections").count(), 1, "{}", pen.stderr());
    assert!(limit(&pen, 1000));
    for client in &mut waiting {
        assert_eq!(client.line(), "A");
    }
    pen.says("accepting connections again");
}

#[test]
fn more_connections_than_descriptors_are_not_promised() {
    let backends = greeters(1);
    let pen = Setup::new().wrapper("prlimit --nofile=120:120").options("-x 5000").servers(&backends).start();
    pen.says("descriptors");
    let max: usize = pen.control("conn_max").trim().parse().unwrap();
    assert!((10..60).contains(&max), "{max}");
    // Far more clients than that come, and all are served in the end.
    let mut waiting: Vec<Client> = (0..150).map(|_| pen.client()).collect();
    let mut served = 0;
    wait_until("everybody to be served", || {
        let millisecond = Duration::from_millis(1);
        let before = served;
        waiting.retain_mut(|client| {
            if client.is_silent_for(millisecond) {
                return true;
            }
            assert_eq!(client.line(), "A");
            served += 1;
            false
        });
        assert!(served - before <= max || before == 0 || !waiting.is_empty() || served == 150);
        waiting.is_empty()
    });
    assert_eq!(served, 150);
    assert_eq!(pen.control("pid"), format!("{}\n", pen.pid()));
}

#[test]
fn a_client_that_is_in_waits_for_a_descriptor_to_its_server() {
    let backends = greeters(1);
    for by_an_end in [false, true] {
        // A second worker might yet be opening what it needs.
        let pen = Setup::new().command("workers 1").servers(&backends).start();
        // What held takes, and gives back, is then below the limit.
        pen.has_no_control_connections();
        let (held, _) = pen.hold(2);
        // One is left: for the client, and none for the connection to its server.
        let free = process::first_free_descriptor(pen.pid());
        if !limit(&pen, free + 1) {
            return skipped("descriptors", "no prlimit");
        }
        let mut client = pen.client_from(3);
        pen.says("cannot connect to servers");
        process::uses_at_most(pen.pid(), Duration::from_millis(60), || {
            assert!(client.is_silent_for(Duration::from_millis(1200)));
        });
        if by_an_end {
            drop(held);
        } else {
            assert!(limit(&pen, 1000));
        }
        assert_eq!(client.line(), "A");
        pen.says("connecting to servers again");
        assert_eq!(pen.stderr().matches("cannot connect").count(), 1, "{}", pen.stderr());
        // The server is not to blame.
        assert!(!pen.stderr().contains("blacklisting"), "{}", pen.stderr());
    }
}

#[test]
fn clients_that_have_gone_give_their_descriptors_to_others() {
    let backends = greeters(1);
    for portable in ["0", "1"] {
        let setup = Setup::new().command("workers 1").environment("PEN_PORTABLE", portable);
        let pen = setup.servers(&backends).start();
        pen.has_no_control_connections();
        // An odd number: whoever comes in, one is left without a descriptor for its server. Mostly all come in before
        // the first has a server, and nobody gets one.
        let free = process::first_free_descriptor(pen.pid());
        if !limit(&pen, free + 11) {
            return skipped("descriptors", "no prlimit");
        }
        let gone: Vec<Client> = (0..40)
            .map(|_| {
                let mut client = pen.client();
                // One that ends after its request cannot be told apart from one that waits for its answer.
                client.send("request\n");
                client
            })
            .collect();
        pen.says("cannot connect to servers");
        drop(gone);
        let stopwatch = Stopwatch::start();
        assert_eq!(pen.client_from(3).line(), "A");
        let took = stopwatch.elapsed();
        assert!(took < Duration::from_secs(5), "{portable}: {took:?}");
    }
}

#[test]
fn one_that_has_its_descriptor_and_waits_for_its_server_holds_up_nobody() {
    let (silent, backend) = (BlackHole::new(), Backend::greeter("A"));
    let setup = Setup::new().command("workers 1").options("-t 30").server(silent.address());
    let setup = setup.servers([&backend]).command("acl 1 permit 127.0.0.2").command("acl 2 permit 127.0.0.3");
    let pen = setup.command("server 0 acl 1").command("server 1 acl 2").start();
    assert_eq!(pen.client_from(3).line(), "A");
    pen.becomes_idle();
    pen.has_no_control_connections();
    let free = process::first_free_descriptor(pen.pid());
    if !limit(&pen, free + 1) {
        return skipped("descriptors", "no prlimit");
    }
    let waiting = pen.client_from(2);
    pen.says("cannot connect to servers");
    assert!(limit(&pen, 1000));
    let stopwatch = Stopwatch::start();
    assert_eq!(pen.client_from(3).line(), "A");
    // Far from the time that a connect may take.
    stopwatch.is_below(Duration::from_secs(10));
    drop(waiting);
}

#[test]
fn with_few_descriptors_it_serves_or_does_not_start() {
    let backends = greeters(1);
    for portable in ["0", "1", "oneshot"] {
        for (workers, limit, least) in [
            (1, 8, 30),
            (1, 12, 30),
            (1, 22, 30),
            (1, 24, 30),
            (1, 29, 30),
            (1, 30, 30),
            (3, 41, 42),
            (3, 42, 42),
        ] {
            let setup = Setup::new()
                .daemon()
                .wrapper(&format!("prlimit --nofile={limit}:{limit}"))
                .environment("PEN_PORTABLE", portable)
                .command(format!("workers {workers}"))
                .servers(&backends);
            match setup.try_start() {
                Ok(pen) => {
                    assert!(limit >= least, "started with {limit}");
                    assert_eq!(
                        pen.choices([2, 3]),
                        "A A",
                        "{portable}: {workers} workers, {limit} descriptors"
                    );
                }
                Err(failure) => {
                    assert!(!failure.status.success() && limit < least, "{limit}: {failure:?}");
                    let told = format!(
                        "the limit of open descriptors: expected at least {least} with {workers} worker"
                    );
                    assert!(failure.stderr.contains(&told), "{limit}: {failure:?}");
                }
            }
        }
    }
}

#[test]
fn silent_control_clients_leave_descriptors_to_clients_and_to_each_other() {
    let backends = greeters(1);
    for descriptors in [50, 64, 120] {
        let limit = format!("prlimit --nofile={descriptors}:{descriptors}");
        let setup = Setup::new().wrapper(&limit).command("workers 1");
        let pen = setup.servers(&backends).start();
        let _silent: Vec<Client> = (0..60).map(|_| Client::to_path(&pen.control_path())).collect();
        for _ in 0..5 {
            assert_eq!(pen.client().line(), "A");
        }
        assert_eq!(pen.control("pid"), format!("{}\n", pen.pid()));
        assert!(!pen.stderr().contains("no new connections"), "{descriptors}: {}", pen.stderr());
    }
}

/// Names, reloads and pages need threads. A user has only so many.
#[test]
fn without_threads_what_needs_one_fails_and_later_works() {
    if !is_root() {
        return skipped("threads", "needs root");
    }
    // Nobody else's.
    const USER: u32 = 1_999_999_997;
    let setup = Setup::new();
    std::os::unix::fs::chown(setup.path(), Some(USER), Some(USER)).unwrap();
    let file = setup.write("file", "blacklist 5\n");
    let backends = greeters(1);
    let setup = setup.no_user().options(format!("-u {USER} -F {file}"));
    let pen = setup.servers(&backends).start();
    // Its own threads are there.
    pen.says(" started: ");
    let threads = |limit: &str| {
        let pid = pen.pid().to_string();
        let limit = format!("--nproc={limit}:");
        // As that user: root need not have the capability.
        let mut prlimit = Command::new("prlimit");
        prlimit.uid(USER).gid(USER).args(["--pid", &pid, &limit]);
        prlimit.status().is_ok_and(|s| s.success())
    };
    if !threads("1") {
        return skipped("threads", "no prlimit");
    }
    let port = backends[0].address().port();
    assert_eq!(pen.control(&format!("server 1 address localhost port {port}")), "");
    pen.says("localhost cannot be resolved, its servers are not used until it can: ");
    let refused = pen.control("reload");
    assert!(refused.starts_with("error: files: "), "{refused}");
    pen.signal(Signal::SIGHUP);
    pen.says(&format!("{file}: it is not applied"));
    assert_eq!(pen.choice(2), "A");
    assert!(threads("1000"));
    pen.signal(Signal::SIGHUP);
    pen.says(&format!("{file} read again"));
    pen.says("localhost has an address now");
    pen.control("server 0 state maint");
    assert_eq!(pen.choice(2), "A");
    assert!(!pen.stderr().contains("internal error"), "{}", pen.stderr());
}
