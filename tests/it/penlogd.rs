//! penlogd: one log with the real clients, whatever arrives.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use crate::support::port::reserve_datagrams;
use crate::support::tree::tool;
use crate::support::weblog::{PENLOGD, Penlogd, different, run, web_line};
use crate::support::{directory, is_root, process, skipped, wait_until};

fn clients(lines: &[String]) -> Vec<&str> {
    lines.iter().map(|line| line.split(' ').next().unwrap()).collect()
}

#[test]
fn puts_the_client_into_the_line_and_leaves_the_rest() {
    let penlogd = Penlogd::start("0", &[]);
    let request = r#"GET /a b?\"q\"=\xc3\xa9 HTTP/1.1"#;
    penlogd.send_from("127.0.0.9", &["+ 192.0.2.1 127.0.0.2 GET /a b?\"q\"=\u{e9} HTTP/1.1\n"]);
    penlogd.send_from("127.0.0.2", &[&(web_line(request) + "\n")]);
    let wanted = web_line(request).replacen("9.9.9.9", "192.0.2.1", 1);
    assert_eq!(penlogd.lines(1), [wanted]);
}

#[test]
fn receives_over_ipv4_and_ipv6_at_once() {
    let penlogd = Penlogd::start("0", &[]);
    penlogd.send_from(
        "127.0.0.9",
        &["+ 2001:db8::1 ::1 GET / HTTP/1.1\n", "+ 192.0.2.1 127.0.0.2 GET / HTTP/1.1\n"],
    );
    penlogd.send_from("127.0.0.2", &[&web_line("GET / HTTP/1.1")]);
    assert_eq!(clients(&penlogd.lines(1)), ["192.0.2.1"]);
    if UdpSocket::bind("[::1]:0").is_err() {
        return skipped("penlogd over IPv6", "no IPv6 here");
    }
    penlogd.send_from("::1", &[&web_line("GET / HTTP/1.1")]);
    assert_eq!(clients(&penlogd.lines(2)), ["192.0.2.1", "2001:db8::1"]);
}

#[test]
fn a_line_waits_for_its_entry_and_an_unmatched_one_is_written_as_it_came() {
    let penlogd = Penlogd::start("127.0.0.1:0", &["-w", "5000"]);
    penlogd.send_from("127.0.0.2", &[&web_line("GET /late"), "what is this\n"]);
    penlogd.send_from("127.0.0.9", &["+ 192.0.2.7 127.0.0.2 GET /late\n"]);
    assert_eq!(clients(&penlogd.lines(2)), ["what", "192.0.2.7"]);
    drop(penlogd);
    let penlogd = Penlogd::start("127.0.0.1:0", &["-w", "0"]);
    penlogd.send_from("127.0.0.2", &[&web_line("GET /never")]);
    assert_eq!(penlogd.lines(1), [web_line("GET /never")]);
}

#[test]
fn only_the_last_n_entries_count() {
    let penlogd = Penlogd::start("127.0.0.1:0", &["-w", "0", "-n", "2"]);
    let entries = [
        "+ 192.0.2.1 127.0.0.2 GET /1\n",
        "+ 192.0.2.2 127.0.0.2 GET /2\n",
        "+ 192.0.2.3 127.0.0.2 GET /3\n",
    ];
    penlogd.send_from("127.0.0.9", &entries);
    penlogd.send_from("127.0.0.2", &[&web_line("GET /1"), &web_line("GET /2"), &web_line("GET /3")]);
    assert_eq!(clients(&penlogd.lines(3)), ["9.9.9.9", "192.0.2.2", "192.0.2.3"]);
}

#[test]
fn any_datagram_is_survived() {
    let penlogd = Penlogd::start("127.0.0.1:0", &["-w", "0", "-dd"]);
    let socket = UdpSocket::bind("127.0.0.2:0").unwrap();
    let all: Vec<u8> = (0..=255).collect();
    let long = vec![b'"'; 60_000];
    for datagram in
        [&b""[..], b"\n", b"+", b"+ ", b"+ x y z", b"+ 1.2.3.4", b"\"", b"\0", b" \"", b"a \"\\", &all, &long]
    {
        socket.send_to(datagram, penlogd.address).unwrap();
    }
    penlogd.send_from("127.0.0.2", &[&web_line("GET /end")]);
    wait_until("the last line", || penlogd.log().contains("GET /end"));
}

/// Neither a line that is merged nor one that is not controls the terminal of whoever reads the log.
#[test]
fn control_characters_are_escaped() {
    let penlogd = Penlogd::start("127.0.0.1:0", &["-w", "0"]);
    penlogd.send_from("127.0.0.9", &["+ 192.0.2.1 127.0.0.2 GET /a\n"]);
    let agent = "\u{1b}]0;title\u{7} \u{9b}2J \u{e9}\t\0\u{7f}";
    let escaped = "\\x1b]0;title\\x07 \\xc2\\x9b2J \u{e9}\\x09\\x00\\x7f";
    let line = |agent: &str| web_line("GET /a").replace("http://r/", agent);
    penlogd.send_from("127.0.0.2", &[&line(agent), &(line(agent) + "\r\n"), agent]);
    let lines = penlogd.lines(3);
    assert_eq!(lines[0], line(escaped).replacen("9.9.9.9", "192.0.2.1", 1));
    assert_eq!(lines[1..], [line(escaped).replacen("9.9.9.9", "192.0.2.1", 1), escaped.to_owned()]);
}

/// Formats that are none of a web server's are written as they are, whatever entries there are.
#[test]
fn what_is_not_understood_is_not_overwritten() {
    let penlogd = Penlogd::start("127.0.0.1:0", &["-w", "0"]);
    let json = r#"{"level":"info","msg":"handled request", "request": "GET /a"}"#;
    let vhost = format!("www.example.com:80 {}", web_line("GET /a"));
    penlogd.send_from("127.0.0.9", &["+ 192.0.2.1 127.0.0.2 GET /a\n", "+ 192.0.2.1 127.0.0.2 level\n"]);
    penlogd.send_from("127.0.0.2", &[json, &vhost]);
    assert_eq!(penlogd.lines(2), [json.to_owned(), vhost.replacen("9.9.9.9", "192.0.2.1", 1)]);
}

/// What has arrived when TERM comes is written, more than one turn of the loop reads.
#[test]
fn term_writes_what_has_arrived() {
    const LINES: usize = 600;
    let penlogd = Penlogd::start("127.0.0.1:0", &["-w", "60000"]);
    penlogd.signal(Signal::SIGSTOP);
    let lines: Vec<String> = (0..LINES).map(|n| format!("line {n}")).collect();
    penlogd.send_from("127.0.0.2", &lines.iter().map(String::as_str).collect::<Vec<_>>());
    penlogd.signal(Signal::SIGTERM);
    penlogd.signal(Signal::SIGCONT);
    let directory = penlogd.terminate();
    let log = fs::read_to_string(directory.path().join("log")).unwrap();
    let received = log.lines().count();
    assert!(log.lines().eq(lines[..received].iter().map(String::as_str)));
    // As many as the system kept for it; Linux keeps some 270 at its default limit.
    assert!(received > 256, "{received} of {LINES}");
}

#[test]
fn an_acl_file_may_have_any_bytes_in_comments_and_is_a_file() {
    let directory = directory::directory();
    let acl = directory.path().join("acl");
    fs::write(&acl, b"# f\xfcr die Server\npermit 127.0.0.2 # \xe4\n").unwrap();
    let penlogd = Penlogd::start("127.0.0.1:0", &["-w", "0", "-a", acl.to_str().unwrap()]);
    penlogd.send_from("127.0.0.3", &["three"]);
    penlogd.send_from("127.0.0.2", &["two"]);
    assert_eq!(penlogd.lines(1), ["two"]);
    for (bytes, wanted) in [(&b"\npermit 127.0.0.2\xe4\n"[..], "acl:2: "), (b"permit \xe4\n", "acl:1: ")] {
        fs::write(&acl, bytes).unwrap();
        let output = run(PENLOGD, ["-f", "-a", acl.to_str().unwrap(), "0"]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            output.status.code() == Some(1) && said.contains(wanted) && said.lines().count() == 1,
            "{said}"
        );
    }
    fs::remove_file(&acl).unwrap();
    nix::unistd::mkfifo(&acl, nix::sys::stat::Mode::S_IRWXU).unwrap();
    penlogd.signal(Signal::SIGHUP);
    wait_until("the complaint", || penlogd.stderr().contains("expected a regular file; the ACL stays"));
    for special in [acl.to_str().unwrap(), "/dev/zero", directory.path().to_str().unwrap()] {
        let output = run(PENLOGD, ["-f", "-a", special, "0"]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && said.contains("expected a regular file"), "{said}");
    }
}

#[test]
fn blocked_signals_are_heard() {
    let Some(mut env) = tool("env").filter(|_| cfg!(target_os = "linux")) else { return };
    let directory = directory::directory();
    let path = |name: &str| directory.path().join(name);
    let mut child = env
        .args(["--block-signal", PENLOGD, "-f", "-l"])
        .arg(path("log"))
        .arg("-p")
        .args([path("pid")])
        .arg("127.0.0.1:0")
        .spawn()
        .unwrap();
    wait_until("its pid file", || {
        fs::read_to_string(path("pid")).is_ok_and(|text| text.ends_with('\n') || !text.is_empty())
    });
    let pid = i32::try_from(child.id()).unwrap();
    let catches = |mask: String| u64::from_str_radix(&mask, 16).is_ok_and(|mask| mask & 1 << 14 != 0);
    wait_until("its handlers", || process::status(pid, "SigCgt").is_some_and(catches));
    process::signal(pid, Signal::SIGTERM);
    assert!(child.wait().unwrap().success());
}

#[test]
fn an_acl_says_who_may_send() {
    let directory = directory::directory();
    let acl = directory.path().join("acl");
    fs::write(&acl, "# the web servers\npermit 127.0.0.2\npermit 127.0.0.4 255.255.255.254\n").unwrap();
    let penlogd = Penlogd::start("127.0.0.1:0", &["-w", "0", "-a", acl.to_str().unwrap()]);
    penlogd.send_from("127.0.0.3", &[&web_line("GET /3")]);
    penlogd.send_from("127.0.0.5", &[&web_line("GET /5")]);
    penlogd.send_from("127.0.0.2", &[&web_line("GET /2")]);
    assert_eq!(penlogd.lines(2), [web_line("GET /5"), web_line("GET /2")]);
    assert!(penlogd.stderr().contains("a datagram from 127.0.0.3 was refused"), "{}", penlogd.stderr());
    fs::write(&acl, "permit 127.0.0.2\nallow 127.0.0.3\n").unwrap();
    penlogd.signal(Signal::SIGHUP);
    wait_until("the complaint", || penlogd.stderr().contains("acl:2: expected permit or deny, got 'allow'"));
    fs::write(&acl, "permit 127.0.0.3\n").unwrap();
    penlogd.signal(Signal::SIGHUP);
    wait_until("the new ACL", || {
        penlogd.send_from("127.0.0.3", &[&web_line("GET /3")]);
        penlogd.log().contains("GET /3")
    });
}

#[test]
fn rotation_under_load_loses_no_line() {
    const LINES: usize = 20_000;
    let penlogd = Penlogd::start("127.0.0.1:0", &["-w", "0"]);
    let socket = UdpSocket::bind("127.0.0.2:0").unwrap();
    let mut files = Vec::new();
    let written = |files: &[std::path::PathBuf]| {
        let texts = files.iter().map(|f| fs::read_to_string(f).unwrap()).chain([penlogd.log()]);
        texts.collect::<Vec<_>>().concat()
    };
    for n in 0..LINES {
        if n % 2000 == 1999 {
            files.push(penlogd.file(&format!("log.{n}")));
            fs::rename(penlogd.file("log"), files.last().unwrap()).unwrap();
            penlogd.signal(Signal::SIGHUP);
        }
        socket.send_to(web_line(&format!("GET /{n}")).as_bytes(), penlogd.address).unwrap();
        if n % 400 == 399 {
            // No more on its way than a socket holds.
            wait_until("the lines so far", || written(&files).lines().count() > n);
        }
    }
    let text = written(&files);
    let wanted: Vec<String> = (0..LINES).map(|n| web_line(&format!("GET /{n}"))).collect();
    assert!(text.lines().eq(wanted.iter().map(String::as_str)), "lines are lost, doubled or cut");
    wait_until("the log to be opened again", || penlogd.file("log").exists());
}

#[test]
fn term_writes_what_is_held_and_removes_the_pid_file() {
    let pid_file = directory::directory();
    let path = pid_file.path().join("pid");
    let penlogd = Penlogd::start("127.0.0.1:0", &["-w", "60000", "-p", path.to_str().unwrap()]);
    assert!(fs::read_to_string(&path).unwrap().parse::<u32>().is_ok());
    penlogd.send_from("127.0.0.2", &[&web_line("GET /held")]);
    let directory = penlogd.terminate();
    assert_eq!(fs::read_to_string(directory.path().join("log")).unwrap(), web_line("GET /held") + "\n");
    assert!(!path.exists());
}

#[test]
fn goes_to_the_background_when_it_receives() {
    let directory = directory::directory();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let port = reserve_datagrams(Ipv4Addr::LOCALHOST.into());
    let address = format!("127.0.0.1:{port}");
    let started = run(PENLOGD, ["-b", "-l", &path("log"), "-p", &path("pid"), &address]);
    assert!(started.status.success(), "{started:?}");
    let pid: i32 = fs::read_to_string(path("pid")).unwrap().parse().unwrap();
    UdpSocket::bind("127.0.0.2:0").unwrap().send_to(b"one line\n", &address).unwrap();
    wait_until("the line", || fs::read_to_string(path("log")).unwrap() == "one line\n");
    let second = run(PENLOGD, ["-l", &path("log"), &address]);
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(said.starts_with("penlogd: cannot receive on 127.0.0.1:") && said.lines().count() == 1, "{said}");
    process::signal(pid, Signal::SIGTERM);
    wait_until("its end", || !process::is_alive(pid));
    assert!(!Path::new(&path("pid")).exists());
}

#[test]
fn a_jail_and_another_user() {
    if !is_root() {
        return skipped("penlogd in a jail", "not root");
    }
    let jail = directory::directory();
    directory::give_to_nobody(jail.path());
    let inside = |name: &str| jail.path().join(name);
    let options =
        ["-b", "-w", "0", "-j", jail.path().to_str().unwrap(), "-u", "nobody", "-l", "/log", "-p", "/pid"];
    let penlogd = Penlogd::start("127.0.0.1:0", &options);
    penlogd.send_from("127.0.0.2", &[&web_line("GET /1")]);
    wait_until("the line", || fs::read_to_string(inside("log")).unwrap() == web_line("GET /1") + "\n");
    let pid: i32 = fs::read_to_string(inside("pid")).unwrap().parse().unwrap();
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap().uid.as_raw();
    let wanted = [nobody; 4].map(|n| n.to_string()).join("\t");
    assert_eq!(process::status(pid, "Uid").as_deref(), Some(wanted.as_str()));
    fs::rename(inside("log"), inside("log.0")).unwrap();
    penlogd.signal(Signal::SIGHUP);
    wait_until("the new log", || inside("log").exists());
    penlogd.terminate();
    assert!(!inside("pid").exists());
}

#[test]
fn what_cannot_be_is_one_clear_line() {
    for (args, code, text) in [
        (&["-n", "0", "1"][..], 2, "'0'"),
        (&["70000"], 2, "expected a number from 0 to 65535 or a service name, got '70000'"),
        (&["-f", "-l", "/no/such/dir/log", "0"], 1, "cannot open log /no/such/dir/log"),
        (&["-f", "-a", "/no/such/acl", "0"], 1, "cannot read ACL file /no/such/acl"),
        (&["-l", "/no/such/dir/log", "0"], 1, "cannot open log /no/such/dir/log"),
        (&["-f", "-u", "no such user", "0"], 1, "no such user"),
    ] {
        let output = run(PENLOGD, args);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert!(
            said.starts_with("penlogd: ") && said.contains(text) && said.lines().count() == 1,
            "{args:?}: {said}"
        );
    }
}

#[test]
fn agrees_with_c_where_requests_differ() {
    if !Path::new("/usr/bin/penlogd").exists() {
        return skipped("penlogd beside C", "no C penlogd");
    }
    let directory = directory::directory();
    let log = directory.path().join("log");
    let ours = Penlogd::start("127.0.0.1:0", &["-w", "0"]);
    let port = reserve_datagrams(Ipv4Addr::LOCALHOST.into());
    let mut c = Command::new("/usr/bin/penlogd")
        .args(["-f", "-b", "-n", "1000", "-l", log.to_str().unwrap(), &port.to_string()])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let probe = UdpSocket::bind("127.0.0.8:0").unwrap();
    let read = || fs::read_to_string(&log).unwrap_or_default();
    wait_until("C to receive", || {
        let _ = probe.send_to((web_line("GET /probe") + "\n").as_bytes(), ("127.0.0.1", port));
        read().contains("/probe")
    });
    let sockets = [2, 3].map(|n| UdpSocket::bind((Ipv4Addr::new(127, 0, 0, n), 0)).unwrap());
    for n in 0..900_usize {
        let request = format!("GET /{}/{n}?{} HTTP/1.1", n % 7, "x".repeat(n % 60));
        let entry = format!("+ 192.0.2.{} 127.0.0.{} {request}\n", n % 251, 2 + n % 2);
        let line = web_line(&request) + "\n";
        for to in [ours.address.port(), port] {
            // Every ninth has no entry.
            if n % 9 > 0 {
                probe.send_to(entry.as_bytes(), ("127.0.0.1", to)).unwrap();
            }
            sockets[n % 2].send_to(line.as_bytes(), ("127.0.0.1", to)).unwrap();
        }
        if n % 50 == 49 {
            wait_until("both", || ours.log().lines().count() > n && read().contains(&request));
        }
    }
    c.kill().unwrap();
    c.wait().unwrap();
    let by_rest = |text: &str| -> BTreeMap<String, String> {
        let parts =
            text.lines().filter_map(|line| line.split_once(' ')).filter(|(_, rest)| !rest.contains("/probe"));
        parts.map(|(client, rest)| (rest.to_owned(), client.to_owned())).collect()
    };
    let (ours, c) = (by_rest(&ours.log()), by_rest(&read()));
    assert_eq!(ours.len(), 900);
    assert_eq!(different(&ours, &c), None);
}
