//! Signals, and how pen ends.

use std::os::unix::process::ExitStatusExt as _;

use nix::sys::signal::Signal;

use crate::support::backend::greeters;
use crate::support::client::End;
use crate::support::tls::Pair;
use crate::support::{Backend, Client, Setup, skipped, wait_until};

#[test]
fn term_and_int_end_it_cleanly() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let backends = greeters(1);
        let mut pen = Setup::new().servers(&backends).start();
        let (mut held, _) = pen.hold(2);
        pen.signal(signal);
        assert_eq!(pen.wait().unwrap().code(), Some(0));
        held.end();
        assert!(!pen.path().join("pid").exists());
        assert!(!pen.control_path().exists());
        assert!(std::net::TcpListener::bind(pen.address).is_ok());
    }
}

#[test]
fn the_pid_file_holds_the_number_alone() {
    let pen = Setup::new().start();
    assert_eq!(pen.read("pid").trim_end_matches('\n'), pen.pid().to_string());
}

#[test]
fn a_pid_file_of_somebody_else_is_left_at_the_end() {
    let mut pen = Setup::new().start();
    std::fs::remove_file(pen.file("pid")).unwrap();
    pen.write("pid", "1\n");
    pen.terminate();
    assert_eq!(pen.read("pid"), "1\n");
}

/// Whether this system writes a core file for who aborts here, with this limit.
fn writes_core_files() -> bool {
    let directory = tempfile::tempdir().unwrap();
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "ulimit -c unlimited && kill -ABRT $$"]).current_dir(directory.path());
    shell.status().unwrap().core_dumped()
}

#[test]
fn user2_leaves_a_core_file_only_where_one_is_wanted_and_no_key_is_in_it() {
    let writes = writes_core_files();
    if !writes {
        skipped("core files", "this system writes none");
    }
    let authority = Pair::root("ca");
    for (options, with_key, wanted) in [
        ("", false, false),
        ("", true, false),
        ("-d", false, true),
        ("-d", true, false),
        ("-O abort_on_error", false, true),
        ("-O abort_on_error", true, true),
    ] {
        let mut setup = Setup::new().wrapper("prlimit --core=unlimited").options(options);
        if with_key {
            authority.issue("localhost").write(setup.path(), "pen");
            let (cert, key) = (setup.file("pen.crt"), setup.file("pen.key"));
            setup = setup.option("-E", cert).option("-K", key);
        }
        let mut pen = setup.start();
        pen.signal(Signal::SIGUSR2);
        let status = pen.wait().unwrap();
        assert_eq!(status.signal(), Some(Signal::SIGABRT as i32), "{options}");
        assert_eq!(status.core_dumped(), wanted && writes, "{options}, with a key: {with_key}");
        let end = format!("aborting on SIGUSR2, {} a core file", if wanted { "with" } else { "without" });
        assert!(pen.stderr().contains(&end) && !pen.stderr().contains("panicked"), "{}", pen.stderr());
    }
}

/// Other signals that write core files are not pen's to answer: what it allows is known to the system.
#[test]
fn no_other_signal_writes_a_core_file_with_a_key() {
    let authority = Pair::root("ca");
    let setup = Setup::new().wrapper("prlimit --core=unlimited");
    authority.issue("localhost").write(setup.path(), "pen");
    let (cert, key) = (setup.file("pen.crt"), setup.file("pen.key"));
    let mut pen = setup.option("-E", cert).option("-K", key).start();
    // Allowed and forbidden again, while it runs.
    pen.control("abort_on_error");
    pen.control("no abort_on_error");
    pen.signal(Signal::SIGQUIT);
    let status = pen.wait().unwrap();
    assert_eq!((status.signal(), status.core_dumped()), (Some(Signal::SIGQUIT as i32), false));
}

#[test]
fn a_broken_pipe_and_a_hangup_without_a_file_are_nothing() {
    let backends = greeters(1);
    let pen = Setup::new().servers(&backends).start();
    let (mut held, _) = pen.hold(2);
    pen.signal(Signal::SIGPIPE);
    pen.signal(Signal::SIGHUP);
    assert_eq!(pen.choice(3), "A");
    held.finish();
    assert_eq!(held.end(), End::Clean);
}

#[test]
fn peers_that_vanish_do_not_end_it() {
    let resetter = Backend::resetter();
    let pen = Setup::new().options("-b 0").server(resetter.address()).start();
    for n in 0..50 {
        // The reset may be there before the connection is.
        let Ok(mut stream) = std::net::TcpStream::connect(pen.address) else { continue };
        _ = std::io::Write::write_all(&mut stream, &[b'x'; 100_000]);
        if n % 2 == 0 {
            <Client as From<_>>::from(socket2::Socket::from(stream)).reset();
        }
    }
    wait_until("all to be over", || pen.servers()[0].conn == 0);
}
