//! The configuration file: precedence, HUP and reload, include.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::backend::{Backend, greeters};
use crate::support::pen::free_port;
use crate::support::{Client, Pen, Setup, wait_until};

/// Has the file read again, and waits until it is.
pub(super) fn hup(pen: &Pen) {
    let before = pen.stderr().len();
    pen.signal(Signal::SIGHUP);
    wait_until("the file to be read", || {
        let said = pen.stderr().split_off(before);
        said.contains("read again") || said.contains("it is not applied")
    });
}

#[test]
fn the_file_beats_the_options_and_operands_beat_its_servers() {
    let backends = greeters(3);
    let setup = Setup::new();
    let file = setup.write(
        "file",
        format!(
            "# comment\n\n  blacklist 11 # comment\r\nserver 0 address 127.0.0.1 port {}\nserver 1 address 127.0.0.1 port {}",
            backends[0].port(),
            backends[1].port()
        ),
    );
    let pen = setup.options(format!("-b 99 -t 9 -F {file}")).server(backends[2].address()).start();
    assert_eq!(pen.control("blacklist"), "11\n");
    assert_eq!(pen.control("timeout"), "9\n");
    let ports: Vec<u16> = pen.servers().iter().map(|s| s.port).collect();
    assert_eq!(ports, [backends[2].port(), backends[1].port()]);
    // At HUP the file wins.
    hup(&pen);
    let ports: Vec<u16> = pen.servers().iter().map(|s| s.port).collect();
    assert_eq!(ports, [backends[0].port(), backends[1].port()]);
}

#[test]
fn a_listen_in_the_file_makes_the_first_operand_be_ignored() {
    let backends = greeters(2);
    let setup = Setup::new();
    let mut tries = 0;
    let pen = loop {
        tries += 1;
        let port = free_port();
        let setup = Setup::new();
        let file = setup.write("file", format!("listen 127.0.0.1:{port}\n"));
        match setup.options(format!("-F {file}")).listen("ignored:1").servers(&backends).try_start() {
            Ok(pen) => break (pen, port),
            Err(failure) => assert!(tries < 5 && failure.stderr.contains("in use"), "{failure:?}"),
        }
    };
    drop(setup);
    let (pen, port) = pen;
    assert_eq!(pen.control("listen"), format!("127.0.0.1:{port}\n"));
    assert_eq!(Client::to(([127, 0, 0, 1], port).into()).line(), "B");
}

#[test]
fn hup_takes_a_good_file_as_a_whole() {
    let backends = greeters(2);
    let setup = Setup::new();
    let file = setup.write("file", "blacklist 5\nacl 1 deny 127.0.0.9\nclient_acl 1\n");
    let pen = setup.options(format!("-r -F {file}")).servers(&backends).start();
    let (mut held, _) = pen.hold(2);
    assert_eq!(pen.choice(9), "EOF");
    pen.write("file", "acl 1 deny 127.0.0.8\ntracking 4\n");
    hup(&pen);
    // A list that is named is built anew, a setting that is not keeps its value.
    assert_ne!(pen.choice(9), "EOF");
    assert_eq!(pen.choice(8), "EOF");
    assert_eq!(pen.control("blacklist"), "5\n");
    assert_eq!(pen.control("tracking"), "4\n");
    hup(&pen);
    pen.control(&format!("write {}", pen.file("written")));
    // C pen appended: entries doubled.
    assert_eq!(pen.read("written").matches("acl 1 deny").count(), 1);
    assert!(held.is_silent_for(std::time::Duration::from_millis(10)));
    held.finish();
    assert_eq!(held.text(), "");
}

#[test]
fn hup_with_a_bad_file_changes_nothing_and_names_the_lines() {
    let backends = greeters(2);
    let setup = Setup::new();
    let file = setup.write("file", "blacklist 5\n");
    let pen = setup.options(format!("-F {file}")).servers(&backends).start();
    assert_eq!(pen.choices([2, 3]), "B A");
    pen.write("file", "blacklist 6\nserver 0 port 0\nfrobnicate\nacl 1 permit x\nroundrobin\n");
    hup(&pen);
    pen.says(&format!("{file}:3: "));
    pen.says(&format!("{file}:4: "));
    assert_eq!(pen.control("blacklist"), "5\n");
    assert_eq!(pen.control("mode"), "no hash no roundrobin no stubborn no weight no prio\n");
    assert_eq!(pen.choices([2, 3]), "B A");
    // A file that is gone is an error of the same kind.
    std::fs::remove_file(&file).unwrap();
    hup(&pen);
    assert_eq!(pen.choices([2, 3]), "B A");
}

#[test]
fn a_bad_file_at_start_is_refused_with_its_lines() {
    let setup = Setup::new();
    let file = setup.write("file", "blacklist 5\nblock\nno delayed_forward\nfrobnicate\n");
    let failure = setup.options(format!("-F {file}")).try_start().unwrap_err();
    assert_eq!(failure.status.code(), Some(2));
    assert_eq!(failure.stderr.lines().count(), 1, "{failure:?}");
    assert!(failure.stderr.contains(&format!("{file}:4: ")), "{failure:?}");
}

#[test]
fn what_only_a_restart_can_change_is_reported_and_the_rest_applies() {
    let backends = greeters(1);
    let setup = Setup::new();
    let file = setup.write("file", "workers 2\n");
    let pen = setup.options(format!("-F {file}")).servers(&backends).start();
    hup(&pen);
    assert!(!pen.stderr().contains("restart"), "{}", pen.stderr());
    pen.write("file", "workers 3\nblacklist 6\n");
    hup(&pen);
    pen.says(&format!("{file}:1: "));
    pen.says("restart");
    assert_eq!(pen.control("blacklist"), "6\n");
}

#[test]
fn a_server_that_the_file_names_no_longer_stays_and_is_reported() {
    let backends = greeters(2);
    let setup = Setup::new();
    let line = |n: usize| format!("server {n} address 127.0.0.1 port {}\n", backends[n].port());
    let file = setup.write("file", line(0) + &line(1));
    let pen = setup.options(format!("-r -F {file}")).start();
    assert_eq!(pen.choices([2, 2]), "B A");
    pen.write("file", line(0));
    hup(&pen);
    pen.says("kept: server 1");
    assert_eq!(pen.choices([2, 2]), "B A");
}

#[test]
fn an_exact_reload_takes_back_what_the_file_and_the_command_line_do_not_name() {
    let backends = greeters(3);
    let setup = Setup::new();
    let line = |n: usize| format!("server {n} address 127.0.0.1 port {}\n", backends[n].port());
    let file =
        setup.write("file", format!("reload_mode exact\nblacklist 5\nclient_acl 1\n{}{}", line(0), line(1)));
    let pen = setup.options(format!("-t 9 -F {file}")).start();
    let (mut held, name) = pen.hold(3);
    assert_eq!(name, "B");
    pen.control("timeout 20");
    pen.control(line(2).trim_end());
    pen.write("file", format!("reload_mode exact\n{}", line(0)));
    let changes = "blacklist 30\nclient_acl 0\ntimeout 9\nno server 1\nno server 2\n";
    assert_eq!(pen.control("diff"), changes);
    assert_eq!(pen.control(&format!("diff {}", pen.file("file"))), changes);
    assert_eq!(pen.control("blacklist"), "5\n");
    hup(&pen);
    changes.lines().for_each(|change| pen.says(&format!("changed: {change}")));
    assert_eq!(pen.choices([2, 3, 4]), "A A A");
    assert!(held.is_silent_for(std::time::Duration::from_millis(10)));
    held.finish();
    assert_eq!(held.text(), "");
    assert_eq!(pen.control("timeout"), "9\n");
    wait_until("the others to be gone", || pen.servers().iter().map(|s| s.number).eq([0]));
    assert_eq!(pen.control("diff"), "# no setting changes\n");
}

#[test]
fn the_command_reload_does_what_hup_does_and_answers() {
    let backends = greeters(2);
    let setup = Setup::new();
    let file = setup.write("file", "blacklist 5\n");
    let log = setup.file("log").to_owned();
    let pen = setup.options(format!("-l {log} -F {file}")).servers(&backends).start();
    assert_eq!(pen.choices([2]), "B");
    std::fs::remove_file(&log).unwrap();
    pen.write("file", "tracking 4\nworkers 7\n");
    let reply = pen.penctl("reload");
    assert_eq!(reply.status.code(), Some(0));
    let notice = format!("# {file}:2: workers: a change needs a restart of pen\n");
    let kept = format!("# no longer in {file}, kept: blacklist 5\n");
    assert_eq!(String::from_utf8_lossy(&reply.stdout), format!("tracking 4\n{notice}{kept}"));
    wait_until("the log to be opened anew", || std::path::Path::new(&log).exists());
    pen.write("file", "tracking x\nfrobnicate\n");
    let reply = pen.penctl("reload");
    assert_eq!(reply.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&reply.stderr).into_owned();
    assert!(errors.contains(&format!("{file}:1: tracking: ")), "{errors}");
    assert!(errors.contains("'frobnicate'"), "{errors}");
    assert_eq!(errors.lines().count(), 2, "{errors}");
    assert_eq!(pen.control("tracking"), "4\n");
    // Who has no file has nothing to compare with.
    let pen = Setup::new().servers(&backends).start();
    assert_eq!(pen.control("reload"), "# no setting changes\n");
    assert!(pen.control("diff").starts_with("error: diff: no file"));
}

#[test]
fn a_change_that_leaves_nobody_to_serve_is_refused() {
    let backends = greeters(2);
    let setup = Setup::new();
    let file = setup.write("file", "blacklist 5\n");
    let pen = setup.options(format!("-F {file}")).servers(&backends).start();
    pen.control("no server 1");
    for command in ["weight", "no server 0", "server 0 port 0"] {
        let output = pen.penctl(command);
        assert_eq!(output.status.code(), Some(1), "{command}");
        let reason = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(reason.contains("nobody would be served"), "{command}: {reason}");
    }
    pen.write("file", "blacklist 6\nweight\n");
    hup(&pen);
    pen.says(&format!("{file}:2: weight: every server has weight 0"));
    assert_eq!(pen.control("blacklist"), "5\n");
    assert_eq!(pen.choices([2, 3]), "A A");
}

#[test]
fn a_server_that_is_removed_keeps_its_connections_and_gets_no_more() {
    let backends = greeters(3);
    let pen = Setup::new().servers(&backends[..2]).start();
    let (mut first, name) = pen.hold(2);
    assert_eq!(name, "B");
    assert_eq!(pen.penctl("no server 1").status.code(), Some(0));
    // Its client, whom it served before, too.
    assert_eq!(pen.choices([2, 3, 4]), "A A A");
    let shown = || pen.servers().iter().map(|s| (s.number, s.conn)).collect::<Vec<_>>();
    wait_until("the others to end", || shown() == [(0, 0), (1, 1)]);
    let document: serde_json::Value = serde_json::from_str(&pen.control("json servers")).unwrap();
    assert_eq!(document["servers"][1]["state"], "removed");
    // Another server in its place has nothing to do with it.
    pen.control(&format!("server 1 address 127.0.0.1 port {}", backends[2].port()));
    assert_eq!(pen.choices([2, 3]), "A A");
    assert_eq!(pen.choices([5]), "C");
    wait_until("the others to end", || shown() == [(0, 0), (1, 1), (1, 0)]);
    assert!(first.is_silent_for(std::time::Duration::from_millis(10)));
    first.finish();
    assert_eq!(first.text(), "");
    wait_until("it to be gone", || shown() == [(0, 0), (1, 0)]);
    let again = pen.penctl("no server 7");
    assert_eq!(again.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&again.stderr),
        "error: no server: expected an existing server, got '7'\n"
    );
}

/// A line by number that is put before one by name is another server, whatever number that one had.
#[test]
fn a_line_by_number_adds_a_server_beside_those_with_names() {
    let backends = greeters(3);
    let line =
        |server: &str, n: usize| format!("server {server} address 127.0.0.1 port {}\n", backends[n].port());
    let setup = Setup::new();
    let file = setup.write("file", line("www1", 0) + &line("www2", 1));
    let pen = setup.option("-F", &file).start();
    assert_eq!(pen.choices([2, 3]), "B A");
    let (held, name) = pen.hold(2);
    assert_eq!(name, "B");
    pen.write("file", line("www1", 0) + &line("1", 2) + &line("www2", 1));
    let told = pen.control("reload");
    assert!(told.contains("server 1 ") && told.contains("server 2 "), "{told}");
    assert_eq!(pen.control("diff"), "# no setting changes\n");
    let ports = || pen.servers().iter().map(|server| server.number).collect::<Vec<_>>();
    assert_eq!(ports(), [0, 1, 2]);
    let served: std::collections::BTreeSet<String> = (5..11).map(|n| pen.choice(n)).collect();
    assert_eq!(served.into_iter().collect::<String>(), "ABC");
    assert!(held.is_silent_for(std::time::Duration::from_millis(10)), "its connection goes on");
    held.finish();
}

#[test]
fn include_is_all_or_nothing() {
    let backends = greeters(2);
    let pen = Setup::new().servers(&backends).start();
    let inner = pen.write("inner", "tracking 7\n");
    let good = pen.write("good", format!("blacklist 6\ninclude {inner}\n"));
    assert_eq!(pen.control(&format!("include {good}")), "");
    assert_eq!((pen.control("blacklist"), pen.control("tracking")), ("6\n".into(), "7\n".into()));
    let bad = pen.write("bad", format!("blacklist 8\ninclude {good}\nroundrobin\nblacklist x\n"));
    let reply = pen.control(&format!("include {bad}"));
    assert!(reply.starts_with("error: ") && reply.contains(&format!("{bad}:4: ")), "{reply}");
    assert_eq!(pen.control("blacklist"), "6\n");
    assert!(pen.control("mode").contains("no roundrobin"));
    // C pen crashed on a file that includes itself.
    let this = pen.file("loop");
    pen.write("loop", format!("include {this}\n"));
    assert!(pen.control(&format!("include {this}")).starts_with("error: "));
    assert_eq!(pen.control("blacklist"), "6\n");
}

#[test]
fn what_cannot_be_had_is_told_with_its_line_and_nothing_of_the_file_is_applied() {
    let backends = greeters(1);
    let taken = Backend::greeter("taken");
    let setup = Setup::new();
    let file = setup.write("file", "blacklist 5\n");
    let pen = setup.option("-F", &file).servers(&backends).start();
    let inner = pen.write("inner", "log /nonexistent/log\n");
    for (line, place) in [
        (format!("listen {}", taken.address()), format!("{file}:2: listen: ")),
        ("log /nonexistent/log".into(), format!("{file}:2: log: ")),
        (format!("include {inner}"), format!("{inner}:1: log: ")),
        ("log nohost.invalid:x".into(), format!("{file}:2: log: ")),
    ] {
        pen.write("file", format!("blacklist 6\n{line}\nroundrobin\n"));
        let reply = pen.control(&format!("include {file}"));
        assert!(reply.starts_with(&format!("error: {place}")), "{line}: {reply}");
        let before = pen.stderr().len();
        hup(&pen);
        let said = pen.stderr().split_off(before);
        assert!(said.contains(&place) && said.contains("it is not applied"), "{line}: {said}");
        assert_eq!(pen.control("blacklist"), "5\n", "{line}");
        assert!(pen.control("mode").contains("no roundrobin"), "{line}");
        assert_eq!(pen.control("listen"), format!("{}\n", pen.operand()), "{line}");
    }
    assert_eq!(pen.choice(2), "A");
}

#[test]
fn bytes_that_are_no_text_are_told_with_their_line_and_comments_may_have_them() {
    let backends = greeters(1);
    let setup = Setup::new();
    let file = setup.file("latin");
    std::fs::write(&file, b"# gr\xfc\xdfe\nblacklist 5 # f\xfcnf\n").unwrap();
    let pen = setup.option("-F", &file).servers(&backends).start();
    assert_eq!(pen.control("blacklist"), "5\n");
    std::fs::write(&file, b"blacklist 6\nuser j\xf6rg\n").unwrap();
    let reply = pen.control(&format!("include {file}"));
    assert!(reply.starts_with(&format!("error: {file}:2: expected UTF-8")), "{reply}");
    assert_eq!(pen.control("blacklist"), "5\n");
}

/// What it changes is worked out on another thread, from a configuration that commands may have changed when that is done.
#[test]
fn a_reload_and_the_commands_meanwhile_both_count() {
    let setup = Setup::new();
    let file = |weight: usize| -> String {
        (0..2000).map(|n| format!("server {n} address 127.0.0.1 port 1 max 9 weight {weight}\n")).collect()
    };
    let path = setup.write("file", file(1));
    let pen = setup.options(format!("-F {path}")).start();
    pen.write("file", file(2));
    let mut reload = Client::to_path(&pen.control_path());
    reload.send("reload\n");
    let mut hard = 9;
    while hard == 9 || reload.is_silent_for(Duration::from_millis(1)) {
        hard += 1;
        assert_eq!(pen.control(&format!("server 1999 hard {hard}")), "");
    }
    let reply = reload.text();
    assert!(reply.starts_with("server 0 weight 2\n") && reply.lines().count() == 2000, "{reply}");
    let line = format!("1999 addr 127.0.0.1 port 1 conn 0 max 9 hard {hard} weight 2 prio 0 sx 0 rx 0");
    assert_eq!(pen.control("servers").lines().last(), Some(&*line));
}
