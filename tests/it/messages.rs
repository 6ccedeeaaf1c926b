//! What pen's own log tells of its life.

use std::process::{Command, Stdio};

use crate::support::backend::{Backend, greeters};
use crate::support::pen::{penctl_program, run_pen};
use crate::support::{Client, Pen, Setup, wait_until};

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn says_once(pen: &Pen, text: &str) {
    pen.says(text);
    assert_eq!(pen.stderr().matches(text).count(), 1, "{text:?} in {}", pen.stderr());
}

#[test]
fn start_reload_and_stop_are_told_with_version_and_what_is_served() {
    let backends = greeters(2);
    let setup = Setup::new();
    let file = setup.write("conf", "");
    let mut pen = setup.option("-F", &file).server(backends[0].address()).start();
    let (address, [a, b]) = (pen.address, [backends[0].address(), backends[1].address()]);
    says_once(
        &pen,
        &format!("pen {VERSION} started: TCP on {address}, 1 server ({a}), configuration {file}\n"),
    );
    pen.write("conf", format!("server 1 address {} port {}\nemergency 192.0.2.1:9\n", b.ip(), b.port()));
    pen.signal(nix::sys::signal::Signal::SIGHUP);
    let now = format!("TCP on {address}, 2 servers ({a}, {b}), emergency server 192.0.2.1:9");
    says_once(&pen, &format!("{file} read again by pen {VERSION}: {now}\n"));
    pen.terminate();
    for text in [
        format!("pen {VERSION} stopping on SIGTERM: {now}, configuration {file}\n"),
        format!("pen {VERSION} stopped\n"),
    ] {
        assert!(pen.stderr().contains(&text), "{text:?} in {}", pen.stderr());
    }
}

#[test]
fn the_command_exit_is_told_with_who_gave_it() {
    let mut pen = Setup::new().options("-X").start();
    let (pid, output) = penctl(pen.control_path().to_str().unwrap(), &["exit"]);
    assert!(output.is_empty());
    pen.wait();
    let uid = nix::unistd::getuid();
    for text in [format!("control: uid {uid} pid {pid}: exit\n"), "stopping on the command exit: ".into()] {
        assert!(pen.stderr().contains(&text), "{text:?} in {}", pen.stderr());
    }
}

/// Runs penctl; its process id and what it answered.
fn penctl(target: &str, words: &[&str]) -> (u32, String) {
    let child = Command::new(penctl_program())
        .arg(target)
        .args(words)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    (child.id(), String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap())
}

#[test]
fn every_change_by_penctl_is_told_with_who_made_it() {
    let pen = Setup::new().server("127.0.0.1:9").start();
    let control = pen.control_path().to_str().unwrap().to_owned();
    // Neither questions, nor what has had no effect, nor what was refused.
    for question in ["timeout", "servers", "show weight", "conn_max 1", "close 4000", "exit", "timeout x"] {
        pen.control(question);
    }
    let uid = nix::unistd::getuid();
    for (words, told) in [
        (&["server", "0", "max", "7"][..], "server 0 max 7"),
        (&["acl", "3", "deny", "10.0.0.0", "255.0.0.0"], "acl 3 deny 10.0.0.0 255.0.0.0"),
        (&["no", "acl", "3"], "no acl 3"),
        (&["timeout", "9"], "timeout 9"),
        (&["close", "0"], "close 0"),
        (&["write", "saved"], "write saved"),
        (&["include", "saved"], "include saved"),
    ] {
        let (pid, _) = penctl(&control, words);
        says_once(&pen, &format!("control: uid {uid} pid {pid}: {told}\n"));
    }
    assert_eq!(pen.stderr().matches("control:").count(), 7, "{}", pen.stderr());
}

#[test]
fn over_the_network_they_are_told_with_address_and_port() {
    let pen = Setup::new().no_probe().options("-C 127.0.0.1:%").command("no acl 1").start();
    let control = std::net::SocketAddr::from(([127, 0, 0, 1], pen.second_port));
    let tell = |line: &str| {
        let mut client = Client::to(control);
        client.send(format!("{line}\n"));
        let port = client.local_port();
        (client.text(), port)
    };
    let (reply, port) = tell("blacklist 7");
    assert_eq!(reply, "7\n");
    says_once(&pen, &format!("control: 127.0.0.1:{port}: blacklist 7\n"));
    tell("acl 1 deny 127.0.0.1");
    tell("control_acl 1");
    let (reply, port) = tell("blacklist 8");
    assert_eq!(reply, "error: control_acl does not permit 127.0.0.1\n");
    says_once(&pen, &format!("control connection from 127.0.0.1:{port} refused by control_acl\n"));
}

#[test]
fn a_failing_server_is_told_where_it_is_not_blacklisted_too() {
    let [first, emergency] = ["A", "E"].map(Backend::greeter);
    let (a, e) = (first.address(), emergency.address());
    let pen = Setup::new().options("-b 0").option("-e", e.to_string()).server(a).start();
    let a_address = first.stop();
    assert_eq!(pen.choices([2, 3, 4]), "E E E");
    says_once(&pen, &format!("cannot connect to server 0 ({a}): Connection refused\n"));
    says_once(&pen, &format!("no regular server is left, the emergency server ({e}) serves new clients\n"));
    emergency.stop();
    assert_eq!(pen.choices([2, 3]), "EOF EOF");
    says_once(&pen, &format!("cannot connect to the emergency server ({e}): Connection refused\n"));
    says_once(&pen, "no server is left, new clients are closed\n");
    let _again = Backend::greeter_on(&a_address, "A");
    assert_eq!(pen.choice(2), "A");
    for text in [
        "new clients are served by the regular servers again\n",
        "new clients are served again\n",
        &format!("connecting to server 0 ({a}) again\n"),
    ] {
        says_once(&pen, text);
    }
    assert!(!pen.stderr().contains("os error"), "{}", pen.stderr());
}

#[test]
fn the_system_s_numbers_are_for_debug() {
    for (words, error) in [
        (
            &["-f", "-F", "/nonexistent", "127.0.0.1:0"][..],
            "/nonexistent: cannot be read: No such file or directory\n",
        ),
        (&["-f", "-E", "/nonexistent", "127.0.0.1:1"], "/nonexistent: No such file or directory\n"),
        (&["-f", "-l", "/nonexistent/log", "127.0.0.1:1"], "/nonexistent/log: No such file or directory\n"),
        (&["-f", "192.0.2.1:1"], "cannot listen on 192.0.2.1:1: Cannot assign requested address\n"),
    ] {
        let output = run_pen(words.iter());
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.ends_with(error), "{words:?}: {said}");
        assert!(!output.status.success());
    }
    let server = Backend::greeter("A");
    let operand = server.address();
    server.stop();
    let pen = Setup::new().options("-d").server(operand).start();
    assert_eq!(pen.choice(2), "EOF");
    pen.says("Connection refused (os error 111)\n");
    says_once(&pen, "for 30 s: Connection refused\n");
}

#[test]
fn a_listening_address_that_is_overridden_is_told() {
    let backends = greeters(1);
    let told = |operand: &str| {
        let setup = Setup::new();
        let file = setup.write("conf", "listen 127.0.0.1:9\n");
        let words = ["--check", "-F", &file, operand, &backends[0].address().to_string()];
        let output = run_pen(words);
        assert!(output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert_eq!(told("8080"), "pen: listening address 8080: not used, since 127.0.0.1:9 is set by listen\n");
    assert_eq!(told("127.0.0.1:9"), "");
}

#[test]
fn the_request_log_may_be_the_standard_output() {
    let backend = Backend::echo();
    let pen = Setup::new().options("-l -").server(backend.address()).start();
    let mut client = pen.client_from(2);
    client.send("hello\n");
    wait_until("the line to be written", || pen.read("stdout").ends_with(" 127.0.0.1 hello\n"));
    // A daemon has none; what it had at its start is there as long as it keeps the log.
    let daemon = Setup::new().daemon().server(backend.address()).start();
    assert_eq!(
        daemon.control("log -"),
        "error: log: expected a file or host:port (a pen in the background has no standard output), got '-'\n"
    );
}
