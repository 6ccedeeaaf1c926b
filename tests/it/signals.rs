//! Signals, and how pen ends.

use std::os::unix::process::ExitStatusExt as _;

use nix::sys::signal::Signal;

use crate::support::backend::greeters;
use crate::support::client::End;
use crate::support::{Backend, Client, Setup, wait_until};

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

#[test]
fn user2_aborts_with_a_core() {
    let mut pen = Setup::new().wrapper("prlimit --core=0").start();
    pen.signal(Signal::SIGUSR2);
    assert_eq!(pen.wait().unwrap().signal(), Some(Signal::SIGABRT as i32));
    assert!(!pen.stderr().contains("panicked"));
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
