//! What an administrator says of a server: ready, drain or maint; `close server`; `wait`.

use nix::sys::signal::Signal;

use crate::support::backend::greeters;
use crate::support::pen::penctl_program;
use crate::support::tree;
use crate::support::udp::{Asker, Server, choices};
use crate::support::{Client, Pen, Setup, wait_until};

fn two() -> (Vec<crate::support::Backend>, Pen) {
    let backends = greeters(2);
    let pen = Setup::new().servers(&backends).start();
    assert_eq!(pen.control("server 0 name a"), "");
    assert_eq!(pen.control("server 1 name b"), "");
    (backends, pen)
}

#[test]
fn a_server_that_drains_serves_the_clients_that_it_had() {
    let (_backends, pen) = two();
    assert_eq!(pen.choices([2, 3]), "B A");
    assert_eq!(pen.control("server b state drain"), "");
    assert_eq!(pen.choices([4, 5, 6, 7]), "A A A A");
    assert_eq!(pen.choices([2, 2, 3]), "B B A");
    let why = pen.control("why 127.0.0.4");
    assert!(why.contains("it drains (state drain), and the client did not have it before"), "{why}");
    assert!(pen.control("why 127.0.0.2").contains("it would get server b ("));
    assert_eq!(pen.control("server b state ready"), "");
    assert_eq!(pen.choices([8, 9]), "B A");
}

#[test]
fn a_server_in_maintenance_serves_nobody_and_keeps_its_connections_until_they_are_closed() {
    let (_backends, pen) = two();
    let (mut kept, name) = pen.hold(2);
    assert_eq!((name.as_str(), pen.control("server b state maint")), ("B", String::new()));
    // The client that it had is served elsewhere; so is everybody, though nobody else is left.
    assert_eq!(pen.choices([2, 3, 4]), "A A A");
    pen.control("server a state maint");
    assert_eq!(pen.choices([2, 3]), "EOF EOF");
    pen.says("no server is left");
    let row =
        |pen: &Pen| -> serde_json::Value { serde_json::from_str(&pen.control("json servers")).unwrap() };
    assert_eq!(row(&pen)["servers"][1]["admin_state"], "maint");
    assert!(pen.control("why 127.0.0.2").contains("server b ("));
    assert!(pen.control("why 127.0.0.2").contains("it is out of service (state maint)"));
    assert_eq!(pen.servers()[1].conn, 1);
    let late = pen.control("wait b idle 0.1");
    assert!(late.starts_with("error: wait: server b (127.0.0.1:"), "{late}");
    assert!(late.ends_with(") is not idle after 0.1 seconds: it has 1 connections\n"), "{late}");
    assert_eq!(pen.control("close server b"), "");
    assert_eq!(pen.control("wait 1 idle"), "");
    assert_eq!(kept.text(), "");
    assert_eq!(pen.servers()[1].conn, 0);
    for (line, error) in [
        ("close server c", "close server: expected the number or the name of an existing server, got 'c'"),
        (
            "close server",
            "close server: expected a number from 0 to 65535 (a server) or the name of one, got nothing",
        ),
        ("wait 7 idle", "wait: expected the number or the name of an existing server, got '7'"),
        ("wait a", "wait: expected idle, up or down, got nothing"),
        ("wait a full", "wait: expected idle, up or down, got 'full'"),
        (
            "wait a up x",
            "wait: expected a number from 0 to 86400 (seconds, with at most three decimals), got 'x'",
        ),
        ("server a state off", "server a state: expected ready, drain or maint, got 'off'"),
    ] {
        assert_eq!(pen.control(line), format!("error: {error}\n"));
    }
}

#[test]
fn wait_answers_when_it_is_so_and_holds_up_nobody() {
    let (_backends, pen) = two();
    let (held, name) = pen.hold(2);
    assert_eq!(name, "B");
    let mut waiting: Vec<Client> = (0..17)
        .map(|_| {
            let mut client = Client::to_path(&pen.control_path());
            client.send("wait b idle 60\n");
            client
        })
        .collect();
    // One of them is too many; all others go on, and commands are carried out.
    wait_until("one to be refused", || {
        waiting.iter_mut().any(|client| !client.is_silent_for(std::time::Duration::from_millis(1)))
    });
    assert_eq!(pen.control("pid"), format!("{}\n", pen.pid()));
    drop(held);
    let mut replies: Vec<String> = waiting.iter_mut().map(Client::text).collect();
    replies.sort();
    assert_eq!(replies[16], "error: 16 commands wait already\n");
    assert!(replies[..16].iter().all(String::is_empty), "{replies:?}");
    assert_eq!(pen.control("wait b up 10"), "");
    pen.control("server b blacklist 60");
    assert_eq!(pen.control("wait b down 10"), "");
    let output = pen.penctl("wait b up 0");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.ends_with("is not up after 0 seconds: it is blacklisted\n"), "{said}");
}

#[test]
fn a_server_is_up_for_those_who_wait_when_it_takes_clients() {
    let backends = greeters(2);
    let setup = Setup::new().command("check it every 0.1 fall 1").command("server 1 check it");
    let pen = setup.servers(&backends).start();
    let server = |n: usize| -> serde_json::Value {
        let all: serde_json::Value = serde_json::from_str(&pen.control("json servers")).unwrap();
        all["servers"][n].clone()
    };
    // Without a check it counts as up, whatever an administrator says of it.
    for (n, admin_state, state) in
        [(0, "maint", "up"), (0, "drain", "up"), (1, "maint", "unknown"), (1, "drain", "up")]
    {
        assert_eq!(pen.control(&format!("wait {n} up 20")), "");
        pen.control(&format!("server {n} state {admin_state}"));
        // In the state drain it is checked.
        wait_until("its state", || server(n)["state"] == state);
        assert_eq!(server(n)["admin_state"], admin_state);
        let reply = pen.control(&format!("wait {n} up 0.1"));
        let end = format!(") is not up after 0.1 seconds: it is {state}, in the state {admin_state}\n");
        assert!(reply.starts_with("error: wait: server ") && reply.ends_with(&end), "{reply}");
        assert_eq!(pen.control(&format!("wait {n} idle 1")), "");
        let reply = pen.control(&format!("wait {n} down 0.1"));
        assert!(reply.contains(" is not down after 0.1 seconds: it is "), "{reply}");
        let mut waiting = Client::to_path(&pen.control_path());
        waiting.send(format!("wait {n} up 60\n"));
        assert!(waiting.is_silent_for(std::time::Duration::from_millis(50)));
        pen.control(&format!("server {n} state ready"));
        assert_eq!(waiting.text(), "");
    }
    // One that is dead is not up after maintenance either, nor in it.
    drop(backends);
    assert_eq!(pen.control("wait 1 down 20"), "");
    pen.control("server 1 state maint");
    assert_eq!(server(1)["state"], "unknown");
    let checks: serde_json::Value = serde_json::from_str(&pen.control("json checks")).unwrap();
    assert_eq!(checks["checks"], serde_json::json!([]), "it is not checked");
    pen.control("server 1 state ready");
    assert_eq!(pen.control("wait 1 down 20"), "");
}

/// The example that makes the state of the servers that of a service.
#[test]
fn a_server_that_takes_no_clients_does_not_count_for_the_service_of_the_examples() {
    let (_backends, pen) = two();
    let place = pen.path().join("programs");
    std::fs::create_dir(&place).unwrap();
    let program = |name: &str, script: String| {
        let path = place.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    };
    program("svcs", format!("cat {}", pen.file("is")));
    program("svcadm", format!("echo \"$1\" >>{}", pen.file("told")));
    program(
        "penctl",
        format!("exec {} {} json servers", penctl_program().display(), pen.control_path().display()),
    );
    let example = std::fs::read_to_string(tree::top().join("doc/examples/health")).unwrap();
    let script =
        example.replace("PATH=/usr/bin:/usr/sbin", &format!("PATH={}:/usr/bin:/bin", place.display()));
    assert_ne!(script, example);
    let becomes = |is: &str| {
        pen.write("is", is);
        pen.write("told", "");
        let done = std::process::Command::new("sh").args(["-c", &script]).status().unwrap();
        assert!(done.success());
        pen.read("told")
    };
    assert_eq!(becomes("online"), "", "both are up");
    pen.control("server a state maint");
    assert_eq!(becomes("online"), "");
    pen.control("server b state drain");
    assert_eq!(becomes("online"), "mark\n", "none takes new clients");
    assert_eq!(becomes("maintenance"), "");
    pen.control("server a state ready");
    assert_eq!(becomes("maintenance"), "clear\n");
}

#[test]
fn a_state_outlasts_a_reload_unless_the_file_names_it_and_is_written() {
    let backends = greeters(2);
    let setup = Setup::new();
    let line = |n: usize| format!("server {n} address 127.0.0.1 port {}\n", backends[n].port());
    let file = setup.write("file", line(0) + &line(1));
    let pen = setup.options(format!("-r -F {file}")).start();
    let reload = |text: String| {
        std::fs::write(&file, text).unwrap();
        let before = pen.stderr().matches("read again").count();
        pen.signal(Signal::SIGHUP);
        wait_until("the file to be read", || pen.stderr().matches("read again").count() > before);
    };
    pen.control("server 1 state maint");
    reload(line(0) + &line(1));
    assert_eq!(pen.choices([2, 3]), "A A");
    let saved = pen.file("saved");
    assert_eq!(pen.control(&format!("write {saved}")), "");
    let written = std::fs::read_to_string(&saved).unwrap();
    assert!(
        written.lines().any(|l| l.starts_with("server 1 ") && l.ends_with(" prio 0 state maint")),
        "{written}"
    );
    assert!(written.lines().any(|l| l.starts_with("server 0 ") && l.ends_with(" prio 0")), "{written}");
    reload(line(0) + &line(1) + "server 1 state ready\n");
    let mut served = [pen.choice(2), pen.choice(3)];
    served.sort();
    assert_eq!(served, ["A", "B"]);
}

#[test]
fn over_udp_new_flows_go_elsewhere_and_flows_go_on_until_they_are_closed() {
    let [a, b] = ["A", "B"].map(Server::named);
    let pen = Setup::new().options("-U -r").server(a.address).server(b.address).start();
    let asker = Asker::new(2, pen.address);
    assert_eq!(asker.name(), "B");
    pen.control("server 1 state maint");
    assert_eq!(choices(pen.address, [3, 4]), "A A");
    assert_eq!(asker.name(), "B");
    pen.control("close server 1");
    assert_eq!(pen.control("wait 1 idle"), "");
    assert_eq!(asker.name(), "A");
}

#[test]
fn that_no_server_takes_new_clients_is_told() {
    let backends = greeters(2);
    let pen = Setup::new().options("-r").servers(&backends).start();
    let told = |reply: String| {
        assert!(reply.starts_with("no server takes new clients, and they are closed"), "{reply}");
    };
    for (last, back) in [
        ("server 1 state maint", "server 1 state ready"),
        ("server 1 state drain", "server 1 state ready"),
        ("server 1 acl 3", "server 1 acl 0"),
    ] {
        assert_eq!(pen.control("acl 3 default deny"), "");
        assert_eq!(pen.control("server 0 state maint"), "", "one is left");
        told(pen.control(last));
        assert_eq!(pen.choice(2), "EOF", "{last}");
        // Once: the next command changes nothing about it.
        assert_eq!(pen.control("server 0 blacklist 60"), "");
        assert_eq!(pen.control(back), "");
        assert_eq!(pen.choice(2), "B");
        assert_eq!(pen.control("server 0 state ready blacklist 0"), "");
    }
    // The reply to blacklist is that of C pen; a server that is blacklisted counts nevertheless.
    assert_eq!(pen.control("server 0 blacklist 60"), "");
    told(pen.control("server 1 state maint"));
    assert_eq!(pen.control("server 1 state ready"), "");
    assert_eq!(pen.control("server 0 blacklist 0"), "");
    // An entry of a list that is in use may close it too, and an emergency server serves whoever comes.
    assert_eq!(pen.control("no acl 3"), "");
    for line in ["server 0 acl 3", "server 1 acl 3"] {
        assert_eq!(pen.control(line), "");
    }
    told(pen.control("acl 3 default deny"));
    pen.control("no acl 3");
    pen.control(&format!("emergency {}", backends[0].address()));
    assert_eq!(pen.control("acl 3 default deny"), "");
}

#[test]
fn that_the_last_server_is_blacklisted_is_logged_with_the_first_client_that_is_closed() {
    let backends = greeters(2);
    let pen = Setup::new().servers(&backends).start();
    assert_eq!(pen.control("server 0 blacklist 60"), "");
    assert_eq!(pen.control("server 1 blacklist 60"), "");
    assert_eq!(pen.choices([2, 3]), "EOF EOF");
    pen.says("no server is left, new clients are closed");
    assert_eq!(pen.stderr().matches("no server is left").count(), 1, "{}", pen.stderr());
}

#[test]
fn a_server_that_leaves_maintenance_begins_slowly() {
    let backends = greeters(2);
    let pen = Setup::new()
        .options("-r")
        .command("slowstart 3600")
        .command("check it every 0.1")
        .command("server 1 state maint check it")
        .servers(&backends)
        .start();
    let slow = || {
        let why = pen.control("why 127.0.0.2");
        let place = |n: usize| why.find(&format!("server {n} ")).unwrap_or_else(|| panic!("{why}"));
        let slow = |text: &str| text.contains("it is in slow start");
        (slow(&why[place(0)..place(1)]), slow(&why[place(1)..]))
    };
    assert_eq!(slow(), (false, false));
    for state in ["maint", "ready"] {
        pen.control(&format!("server 0 state {state}"));
    }
    assert_eq!(slow(), (true, false));
    // With a check, once that finds it up.
    assert_eq!(pen.control("server 1 state ready"), "");
    assert_eq!(pen.control("wait 1 up 20"), "");
    assert_eq!(slow(), (true, true));
}

#[test]
fn failed_connects_to_the_emergency_server_are_counted() {
    let (away, gone) = (crate::support::backend::Refusing::new(), crate::support::backend::Refusing::new());
    let pen = Setup::new().option("-e", gone.address().to_string()).server(away.address()).start();
    (0..3).for_each(|_| assert_eq!(pen.choice(2), "EOF"));
    let document: serde_json::Value = serde_json::from_str(&pen.control("json servers")).unwrap();
    let servers = document["servers"].as_array().unwrap();
    let emergency = servers.iter().find(|server| server["role"] == "emergency").unwrap();
    assert_eq!(emergency["failures"], 3, "{document}");
}
