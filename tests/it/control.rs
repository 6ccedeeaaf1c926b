//! The control socket: replies and refusals.

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

use crate::support::backend::{Backend, greeters};
use crate::support::pen::{run_pen, run_penctl};
use crate::support::{Client, Setup, wait_until};

#[test]
fn replies_are_those_of_c_pen() {
    let backends = greeters(2);
    let pen = Setup::new().servers(&backends).start();
    let address = pen.operand().to_owned();
    let pid = pen.pid();
    for (line, reply) in [
        ("pid", format!("{pid}\n")),
        ("   pid  ", format!("{pid}\n")),
        ("", String::new()),
        ("# comment", String::new()),
        ("  # comment", String::new()),
        ("mode", "no hash no roundrobin no stubborn no weight no prio\n".into()),
        ("blacklist", "30\n".into()),
        ("blacklist 20", "20\n".into()),
        ("blacklist 21 # comment", "21\n".into()),
        ("blacklist 22\r", "22\n".into()),
        ("timeout", "3\n".into()),
        ("timeout 5", "5\n".into()),
        ("tracking", "0\n".into()),
        ("tracking 5", "5\n".into()),
        ("clients_max", "2048\n".into()),
        ("clients_max 10", "2048\n".into()),
        ("clients_max 4096", "4096\n".into()),
        ("conn_max", "500\n".into()),
        ("conn_max 10", "500\n".into()),
        ("conn_max 1000", "1000\n".into()),
        ("client_acl", "0\n".into()),
        ("client_acl 3", "3\n".into()),
        ("client_acl 0", "0\n".into()),
        ("control_acl", "0\n".into()),
        ("debug", "0\n".into()),
        ("debug 2", "2\n".into()),
        ("debug 0", "0\n".into()),
        ("idle_timeout", "Idle timeout: 0 seconds\n".into()),
        ("idle_timeout 10", "Idle timeout: 10 seconds\n".into()),
        ("pending_max 10", String::new()),
        ("listen", format!("{address}\n")),
        ("control", format!("{}\n", pen.file("control"))),
        ("log", String::new()),
        ("web_stats", String::new()),
        ("close 0", "Forcibly closing connection 0\n".into()),
        ("close 100000", "Connection 100000 out of range\n".into()),
        (
            "connection 0",
            "Connection 0:\nstate = 0\ndownfd = -1, upfd = -1\nclient = 0, server = 0\npend = 0\n".into(),
        ),
        ("connection 99999", "Connection 99999 out of range\n".into()),
        ("socket 100", "Socket 100 belongs to connection -1\n".into()),
        ("recent", String::new()),
        ("recent 10", String::new()),
        ("exit", "Exit is not enabled; restart with -X flag\n".into()),
        ("status", "Unable to create webstats\n".into()),
        ("foo", "do_cmd: ignoring command starting with 'foo'\n".into()),
        ("foo bar baz", "do_cmd: ignoring command starting with 'foo'\n".into()),
        ("PID", "do_cmd: ignoring command starting with 'PID'\n".into()),
        ("help", "do_cmd: ignoring command starting with 'help'\n".into()),
        ("source 127.0.0.1", String::new()),
        ("no source", String::new()),
        ("tcp_fastclose both", String::new()),
        ("tcp_fastclose off", String::new()),
    ] {
        assert_eq!(pen.control(line), reply, "{line}");
    }
    // With all weights 0 nobody would be served, and weight is refused.
    pen.control("server 0 weight 1");
    for flag in [
        "abort_on_error",
        "ascii",
        "dummy",
        "hash",
        "http",
        "keepalive",
        "prio",
        "roundrobin",
        "stubborn",
        "tcp_nodelay",
        "weight",
    ] {
        assert_eq!(pen.control(flag), "", "{flag}");
        assert_eq!(pen.control(&format!("no {flag}")), "", "no {flag}");
    }
    for obsolete in
        ["epoll", "poll", "select", "kqueue", "block", "delayed_forward", "no block", "no delayed_forward"]
    {
        assert_eq!(pen.control(obsolete), "", "{obsolete}");
    }
    pen.control("hash");
    pen.control("weight");
    assert_eq!(pen.control("mode"), "hash no roundrobin no stubborn weight no prio\n");
}

#[test]
fn nonsense_is_refused_with_what_is_allowed_and_changes_nothing() {
    let backends = greeters(2);
    let pen = Setup::new().servers(&backends).start();
    pen.control(&format!("write {}", pen.file("before")));
    // What C pen took for 0, clamped, wrapped, ignored, ended at or crashed at.
    for (line, words) in [
        ("blacklist abc", &["blacklist", "'abc'"][..]),
        ("blacklist -5", &["blacklist", "'-5'"]),
        ("blacklist 99999999999", &["blacklist", "'99999999999'"]),
        ("timeout 0", &["timeout", "'0'"]),
        ("timeout x", &["timeout", "'x'"]),
        ("tracking -1", &["tracking", "'-1'"]),
        ("conn_max -1", &["conn_max", "'-1'"]),
        ("conn_max 2000000000", &["conn_max"]),
        ("clients_max 99999999999", &["clients_max"]),
        ("clients_max x", &["clients_max", "'x'"]),
        ("idle_timeout x", &["idle_timeout", "'x'"]),
        ("pending_max 0", &["pending_max", "'0'"]),
        ("client_acl 10", &["client_acl", "'10'"]),
        ("control_acl x", &["control_acl", "'x'"]),
        ("debug x", &["debug", "'x'"]),
        ("tcp_fastclose", &["tcp_fastclose"]),
        ("tcp_fastclose UP", &["tcp_fastclose", "'UP'", "up, down, both or off"]),
        ("source", &["source"]),
        ("source nonsense", &["source", "'nonsense'"]),
        ("server", &["server"]),
        ("server x", &["server", "'x'"]),
        ("server -1 max 3", &["server", "'-1'"]),
        ("server 2000000000 max 3", &["server", "'2000000000'"]),
        ("server 0 foo 1", &["server 0", "'foo'", "acl, address, port"]),
        ("server 0 port", &["server 0 port", "got nothing"]),
        ("server 0 port 70000", &["server 0 port", "'70000'"]),
        ("server 0 max 5 max x", &["server 0 max", "'x'"]),
        ("close", &["close"]),
        ("close x", &["close", "'x'"]),
        ("connection -1", &["connection", "'-1'"]),
        ("socket x", &["socket", "'x'"]),
        ("recent x", &["recent", "'x'"]),
        ("no", &["no"]),
        ("no foo", &["no foo", "'foo'"]),
        ("no server", &["no server"]),
        ("include", &["include"]),
        ("include /nonexistent", &["/nonexistent"]),
        ("write", &["write", "no file"]),
        ("write /nonexistent/x", &["write", "/nonexistent/x"]),
        ("log nohost.invalid:x", &["log"]),
        ("log /nonexistent/dir/log", &["log", "/nonexistent/dir/log"]),
        ("listen nonsense", &["listen", "'nonsense'"]),
        ("listen 70000", &["listen", "'70000'"]),
        ("pid extra", &["pid", "'extra'"]),
        ("mode extra", &["mode", "'extra'"]),
        ("hash extra", &["hash", "'extra'"]),
        ("control /elsewhere", &["control", "restart"]),
        ("ssl_option nonsense", &["ssl_option", "'nonsense'"]),
        ("ssl_client_renegotiation_interval x", &["ssl_client_renegotiation_interval"]),
        ("dsr_if lo", &["dsr_if", "not available"]),
        ("dsr_ip 127.0.0.1", &["dsr_ip", "not available"]),
        ("tarpit_acl -2", &["tarpit_acl"]),
        ("idlers 3", &["idlers", "not available"]),
        ("peek", &["peek", "not available"]),
    ] {
        let reply = pen.control(line);
        assert!(reply.starts_with("error: ") && reply.ends_with('\n'), "{line}: {reply:?}");
        assert_eq!(reply.lines().count(), 1, "{line}: {reply:?}");
        for word in words {
            assert!(reply.contains(word), "{line}: {word} is not in {reply:?}");
        }
        // Of these there is nothing to choose from.
        let else_wrong = ["not available", "restart", "one word too many", "no file", "/nonexistent"];
        assert!(
            reply.contains("expected ") || else_wrong.iter().any(|text| reply.contains(text)),
            "{line}: {reply:?} does not say what is expected"
        );
    }
    pen.control(&format!("write {}", pen.file("after")));
    let settings = |name: &str| {
        pen.read(name).lines().filter(|l| !l.starts_with('#')).map(str::to_owned).collect::<Vec<_>>()
    };
    // As in C pen, from whose second line scripts start it again.
    assert!(pen.read("before").lines().nth(1).unwrap().starts_with("# pen -f -p "));
    assert_eq!(settings("before"), settings("after"));
    assert_eq!(pen.choices([2, 3]), "B A");
}

#[test]
fn servers_shows_every_number() {
    let backends = [Backend::echo()];
    let pen = Setup::new().server(format!("{}:5:10:3:1", backends[0].address())).start();
    let mut client = pen.client();
    client.send("seven..");
    assert_eq!(client.bytes(7), b"seven..");
    wait_until("the bytes to be counted", || pen.servers()[0].rx == 7);
    assert_eq!(
        pen.control("servers"),
        format!(
            "0 addr 127.0.0.1 port {} conn 1 max 5 hard 10 weight 3 prio 1 sx 7 rx 7\n",
            backends[0].port()
        )
    );
    assert_eq!(pen.control("recent"), "127.0.0.1 connects 1 sx 7 rx 7\n");
    drop(client);
    pen.becomes_idle();
    assert_eq!(pen.control("recent"), "127.0.0.1 connects 1 sx 7 rx 7\n");
    // A gap is no server.
    pen.control("server 3 address 127.0.0.9 port 99 max 7");
    let shown: Vec<usize> = pen.servers().iter().map(|s| s.number).collect();
    assert_eq!(shown, [0, 3]);
    assert!(
        pen.control("servers")
            .contains("3 addr 127.0.0.9 port 99 conn 0 max 7 hard 0 weight 0 prio 0 sx 0 rx 0\n")
    );
    // The last of two counts.
    pen.control("server 3 max 1 max 2");
    assert_eq!(pen.servers()[1].max, 2);
}

#[test]
fn a_connection_can_be_looked_at_and_closed() {
    let backends = greeters(2);
    let pen = Setup::new().servers(&backends).start();
    let (first, _) = pen.hold(2);
    let (mut second, _) = pen.hold(3);
    let shown = pen.control("connection 0");
    let descriptor = |text: &str, name: &str| -> i32 {
        let at = text.find(name).unwrap_or_else(|| panic!("{name} in {text}")) + name.len();
        text[at..].split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
    };
    let (down, up) = (descriptor(&shown, "downfd = "), descriptor(&shown, "upfd = "));
    assert_eq!(
        shown,
        format!("Connection 0:\nstate = 2\ndownfd = {down}, upfd = {up}\nclient = 0, server = 1\npend = 0\n")
    );
    for fd in [down, up] {
        assert_eq!(pen.control(&format!("socket {fd}")), format!("Socket {fd} belongs to connection 0\n"));
    }
    assert_eq!(pen.control("close 1"), "Forcibly closing connection 1\n");
    second.end();
    assert!(first.is_silent_for(Duration::from_millis(20)));
    wait_until("the count to be right", || pen.servers().iter().map(|s| s.conn).eq([0, 1]));
}

#[test]
fn a_line_may_come_in_pieces_or_end_with_the_connection() {
    let pen = Setup::new().start();
    let pid = format!("{}\n", pen.pid());
    let mut client = Client::to_path(&pen.control_path());
    client.send("pi");
    assert!(client.is_silent_for(Duration::from_millis(20)));
    client.send("d\n");
    assert_eq!(client.text(), pid);
    let mut client = Client::to_path(&pen.control_path());
    client.send("pid");
    client.finish();
    assert_eq!(client.text(), pid);
    let mut client = Client::to_path(&pen.control_path());
    client.finish();
    assert_eq!(client.text(), "");
}

#[test]
fn many_connections_at_once_are_served_one_after_the_other() {
    let pen = Setup::new().start();
    // More than pen talks to at a time; each has its own command under way before the first is answered.
    let mut clients: Vec<Client> = (0..100).map(|_| Client::to_path(&pen.control_path())).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.send(format!("server {n} address 127.0.0.1 port {} max {n}\n", n + 1));
    }
    assert!(clients.iter_mut().all(|client| client.text().is_empty()));
    let servers = pen.servers();
    assert_eq!(servers.len(), 100);
    for (n, server) in servers.iter().enumerate() {
        assert_eq!((server.number, usize::from(server.port), server.max), (n, n + 1, n as i64));
    }
}

#[test]
fn one_line_a_connection() {
    let pen = Setup::new().start();
    let mut client = Client::to_path(&pen.control_path());
    client.send("blacklist 24\nblacklist 25\n");
    assert_eq!(client.text(), "24\n");
    assert_eq!(pen.control("blacklist"), "24\n");
}

#[test]
fn a_line_of_any_bytes_is_answered() {
    let pen = Setup::new().start();
    for line in
        [&b"\xff\xfe\n"[..], b"blacklist\0 26\n", b"\x1b[31m\n", b"%s%n%n\n", b"server 0 address \xe9\n"]
    {
        let mut client = Client::to_path(&pen.control_path());
        client.send(line);
        let reply = client.rest();
        assert!(reply.ends_with(b"\n") && !reply.is_empty(), "{line:?}: {reply:?}");
    }
    assert_eq!(pen.control("blacklist"), "30\n");
}

#[test]
fn an_endless_line_is_refused() {
    let pen = Setup::new().start();
    let mut client = Client::to_path(&pen.control_path());
    let mut twin = client.twin();
    // Pen stops reading some time.
    let sender = std::thread::spawn(move || while twin.0.write_all(&[b'x'; 4096]).is_ok() {});
    let reply = client.line();
    assert!(reply.starts_with("error: ") && reply.contains("bytes"), "{reply}");
    drop(client);
    sender.join().unwrap();
    assert_eq!(pen.control("blacklist"), "30\n");
}

#[test]
fn exit_ends_pen_only_with_the_option() {
    let pen = Setup::new().start();
    assert_eq!(pen.control("exit"), "Exit is not enabled; restart with -X flag\n");
    assert_eq!(pen.control("blacklist"), "30\n");
    let mut pen = Setup::new().options("-X").start();
    assert_eq!(pen.control("exit"), "");
    assert!(pen.wait().unwrap().success());
    assert!(!pen.path().join("pid").exists());
    assert!(!pen.control_path().exists());
}

#[test]
fn the_control_socket_may_be_on_ipv4_and_ipv6_with_a_list() {
    for host in ["127.0.0.1", "[::1]", "::1"] {
        let pen = Setup::new().options(format!("-C {host}:%")).no_probe().start();
        let port = pen.second_port;
        let address = format!("{}:{port}", if host.contains(':') { "[::1]" } else { host }).parse().unwrap();
        let ask = |line: &str| {
            let mut client = Client::to(address);
            client.send(format!("{line}\n"));
            client.text()
        };
        wait_until("the control socket", || !ask("pid").is_empty());
        assert_eq!(ask("control"), format!("{host}:{port}\n"));
        if host == "127.0.0.1" {
            assert_eq!(ask("acl 9 permit 127.0.0.7"), "");
            assert_eq!(ask("control_acl 9"), "9\n");
            let mut denied = Client::from("127.0.0.8", address);
            // Before it sends anything, and whatever it sends.
            assert_eq!(denied.text(), "error: control_acl does not permit 127.0.0.8\n");
            pen.says("127.0.0.8");
            let penctl = run_penctl([address.to_string().as_str(), "pid"]);
            assert_eq!(penctl.status.code(), Some(1));
            assert_eq!(penctl.stderr, b"error: control_acl does not permit 127.0.0.1\n");
            let mut permitted = Client::from("127.0.0.7", address);
            permitted.send("pid\n");
            assert_eq!(permitted.text(), format!("{}\n", pen.pid()));
        }
    }
}

#[test]
fn root_gets_no_control_socket_without_a_user_and_pen_starts_all_the_same() {
    if !crate::support::is_root() {
        return crate::support::skipped("control socket as root", "needs root");
    }
    let backends = greeters(1);
    let pen = Setup::new().no_user().servers(&backends).start();
    pen.says("-u");
    assert!(!pen.control_path().exists());
    assert_eq!(pen.choice(2), "A");
}

#[test]
fn an_open_control_port_is_said() {
    let pen = Setup::new().options("-C %").no_probe().start();
    pen.says("control_acl");
}

#[test]
fn what_is_not_utf_8_is_refused_and_not_replaced() {
    let pen = Setup::new().start();
    let ask = |line: &[u8]| {
        let mut client = Client::to_path(&pen.control_path());
        client.send(line);
        client.text()
    };
    let line = b"check l body Gr\xfc\xdfe\n";
    let expected = "error: expected UTF-8 outside of comments, got check l body Gr\\xfc\\xdfe\n";
    assert_eq!(ask(line), expected);
    // The same in a file.
    fs::write(pen.file("lines"), line).unwrap();
    let included = pen.control(&format!("include {}", pen.file("lines")));
    assert_eq!(included, expected.replacen(" ", &format!(" {}:1: ", pen.file("lines")), 1));
    assert_eq!(ask(b"blacklist 7 # Gr\xfc\xdfe\n"), "7\n");
    assert_eq!(ask("blacklist 8 # Gr\u{fc}\u{df}e \u{fffd}\n".as_bytes()), "8\n");
    let refused = |output: std::process::Output, program: &str| {
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(said, format!("{program}: expected UTF-8, got 'Gr\\xfc\\xdfe'\n"));
        assert_eq!(output.status.code(), Some(2));
    };
    let word = OsStr::from_bytes(b"Gr\xfc\xdfe");
    let control = pen.control_path();
    let words = [control.as_os_str(), "check".as_ref(), "l".as_ref(), "body".as_ref(), word];
    refused(run_penctl(words), "penctl");
    for option in ["-F", "-O", "-l"] {
        refused(run_pen([OsStr::new("--check"), option.as_ref(), word]), "pen");
    }
    refused(run_pen([OsStr::new("127.0.0.1:0"), word]), "pen");
}
