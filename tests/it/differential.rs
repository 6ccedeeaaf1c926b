//! The same scripts for Debian's C pen 0.34.1 and for ours: what they answer, choose, log and write is compared, and
//! whatever differs must stand in the table `differential/wanted` with its reason. A line of the table that fits no longer
//! fails, too.

mod compare;
mod udp;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use crate::support::backend::{Backend, Refusing, greeters};
use crate::support::directory::directory;
use crate::support::pen::free_port;
use crate::support::process;
use crate::support::wait::DEADLINE;
use crate::support::{Client, Setup, skipped, wait_for, wait_until};
use compare::{C_PEN, Side, Transcript, compare, dare, steady};

#[test]
fn replies() {
    compare("replies", |side| {
        let backends = greeters(2);
        let pen = side.pen("", &backends, &["", ":5:10:3:1"]);
        let mut transcript = Transcript::new();
        for line in include_str!("differential/commands").lines() {
            let line = line.replace("DIR", pen.path().to_str().unwrap());
            let reply = steady(&pen, &backends, &pen.try_control(&line));
            transcript.insert(steady(&pen, &backends, &line), reply);
        }
        transcript
    });
}

#[test]
fn what_ends_c_pen() {
    compare("ends", |side| {
        let backends = greeters(1);
        let mut transcript = Transcript::new();
        for line in [
            "no acl",
            "source",
            "ssl_client_renegotiation_interval",
            "ssl_ocsp_response",
            "dsr_if lo",
            "log nohost.invalid:1",
            "log /nonexistent/dir/log",
            "listen nonsense",
            "conn_max -1",
            "conn_max 2000000000",
            "clients_max 2000000000",
            "server 2000000000 max 3",
        ] {
            let mut pen = side.pen("", &backends, &[""]);
            let reply = dare(&mut pen, line);
            transcript.insert(line.into(), reply);
        }
        transcript
    });
}

/// Selection: options, limits of the servers behind their ports, and steps; `-` stands before control commands.
const SELECTIONS: &[(&str, &str, &[&str], &[&str])] = &[
    ("default", "", &["", "", "", ""], &["2 3 4 5 6 7", "2 3 4 5 6 7", "7 6 5 4 3 2", "2 2 2"]),
    ("a returning client", "", &["", "", "", ""], &["2 3 2 4 2 2 5"]),
    ("round robin", "-r", &["", "", "", ""], &["2 2 2 2 2 3 4 5 6 7"]),
    ("small table", "-c 2", &["", "", "", ""], &["2 3 4", "4 3", "2"]),
    ("weight held", "-W", &[":0:0:1", ":0:0:2", ":0:0:3", ""], &["held 2 3 4 5 6 7 8 9 10 11 12 13"]),
    ("weight and round robin held", "-W -r", &[":0:0:1", ":0:0:1", ":0:0:1"], &["held 2 2 2 3 3 4"]),
    ("weights of zero", "-W", &["", ""], &["2 3"]),
    (
        "prio",
        "-r -O prio",
        &[":0:0:0:4", ":0:0:0:1", ":0:0:0:3", ":0:0:0:2"],
        &[
            "2 2 2",
            "- server 1 blacklist 99",
            "2 2",
            "- server 3 blacklist 99",
            "2 2",
            "- server 2 blacklist 99",
            "2 2",
        ],
    ),
    ("prio and weight", "-W -O prio", &[":0:0:9:2", ":0:0:1:1"], &["held 2 3 4"]),
    (
        "prio and memory",
        "-O prio",
        &[":0:0:0:3", ":0:0:0:1", ":0:0:0:4", ":0:0:0:2"],
        &["2 3", "- server 1 blacklist 99", "2", "4"],
    ),
    (
        "blacklist",
        "-r",
        &["", "", "", ""],
        &["- server 1 blacklist 99", "2 2 2 2 2 2", "- server 1 blacklist 0", "2 2 2 2"],
    ),
    (
        "blacklist and memory",
        "",
        &["", "", "", ""],
        &["2 3 4 5", "- server 1 blacklist 99", "2 3 2", "- server 1 blacklist 0", "2 3"],
    ),
    ("soft limit", "", &[":1", ""], &["held 2 3 4 5 6"]),
    ("soft and hard limit", "", &[":1:2", ":1:2"], &["held 2 3 2 3 4 2"]),
    ("soft limits full", "", &[":1", ":1"], &["held 2 3 2 4"]),
    ("stubborn full", "-s", &[":1", ":1"], &["held 2 2 3 4"]),
    (
        "client_acl",
        "",
        &["", "", ""],
        &[
            "- acl 1 deny 127.0.0.3",
            "- client_acl 1",
            "2 3 4",
            "- no acl 1",
            "- acl 1 permit 127.0.0.2",
            "2 3 4",
        ],
    ),
    (
        "acl with mask",
        "-r",
        &["", ""],
        &[
            "- acl 2 deny 127.0.0.8 255.255.255.248",
            "- acl 2 permit 127.0.0.0 255.0.0.0",
            "- client_acl 2",
            "7 8 15 16",
        ],
    ),
    (
        "acl of a server",
        "",
        &["", "", ""],
        &["- acl 1 permit 127.0.0.2", "- server 1 acl 1", "2 2", "3 3", "4 2"],
    ),
    ("port 0", "", &["", "", ""], &["2 3", "- server 1 port 0", "2 3 2"]),
    ("modes live", "", &["", "", ""], &["2 2", "- roundrobin", "2 2 2", "- no roundrobin", "2 2"]),
    ("hash", "-h", &["", "", "", ""], &["2", "2 2"]),
];

#[test]
fn choices() {
    compare("choices", |side| {
        let mut transcript = Transcript::new();
        for (name, options, limits, steps) in SELECTIONS {
            let backends = greeters(limits.len());
            let pen = side.pen(options, &backends, limits);
            for (n, step) in steps.iter().enumerate() {
                let clients = |text: &str| text.split(' ').map(|c| c.parse().unwrap()).collect::<Vec<u8>>();
                let value = if let Some(command) = step.strip_prefix("- ") {
                    pen.control(command)
                } else if let Some(held) = step.strip_prefix("held ") {
                    pen.choices_held(clients(held))
                } else {
                    pen.choices(clients(step))
                };
                transcript.insert(format!("{name}, step {n}: {step}"), value);
            }
        }
        transcript
    });
}

#[test]
fn failover() {
    compare("failover", |side| {
        let mut transcript = Transcript::new();
        let dead = [Refusing::new(), Refusing::new()];
        let backends = greeters(2);
        let emergency = Backend::greeter("E");
        for poll in ["", " -O poll"] {
            // C pen fails over from a refused connect only with poll and select.
            let name = if poll.is_empty() { "epoll" } else { "poll" };
            let setup = || side.setup().options(poll);
            let pen = setup().options("-r").server(dead[0].address()).servers(&backends).start();
            transcript.insert(format!("{name}, dead A B, round robin"), pen.choices([2; 6]));
            let pen =
                setup().servers(&backends[..1]).server(dead[0].address()).servers(&backends[1..]).start();
            transcript.insert(format!("{name}, A dead B"), pen.choices([2, 3, 4, 5, 2, 3, 4, 5]));
            let setup_of_dead = || dead.iter().map(Refusing::address).fold(setup(), Setup::server);
            let pen = setup_of_dead().start();
            transcript.insert(format!("{name}, all dead"), pen.choices([2, 3]));
            let pen = setup_of_dead().option("-e", emergency.address().to_string()).start();
            transcript.insert(format!("{name}, all dead with emergency"), pen.choices([2, 3]));
            let pen = setup().options("-s").servers(&backends[..1]).server(dead[0].address()).start();
            transcript.insert(format!("{name}, stubborn, A dead"), pen.choices([2, 3, 2, 3]));
        }
        let pen = side
            .setup()
            .options(format!("-e {}", emergency.address()))
            .command("acl 1 deny 127.0.0.3")
            .command("client_acl 1")
            .servers(&backends)
            .start();
        transcript.insert("denied, with emergency".into(), pen.choices([2, 3]));
        let pen = side
            .setup()
            .options(format!("-B {}", emergency.address()))
            .command("acl 1 deny 127.0.0.3")
            .command("client_acl 1")
            .servers(&backends)
            .start();
        transcript.insert("denied, with abuse".into(), pen.choices([2, 3, 3]));
        transcript
    });
}

#[test]
fn traffic() {
    compare("traffic", |side| {
        let mut transcript = Transcript::new();
        let backends = [Backend::echo(), Backend::echo()];
        let pen = side.pen("", &backends, &["", ":5:10:3:1"]);
        let mut client = pen.client_from(2);
        client.send("1234567");
        client.bytes(7);
        wait_until("the bytes to be counted", || {
            pen.control("recent").contains("sx 7 rx 7") && pen.control("servers").contains("sx 7 rx 7")
        });
        for line in ["servers", "recent", "connection 0", "connection 1", "socket 0", "close 0"] {
            let reply = steady(&pen, &backends, &pen.control(line));
            // Descriptors are each pen's own.
            let reply: Vec<String> = reply
                .lines()
                .map(|l| {
                    if l.starts_with("downfd = ") && !l.contains("-1") {
                        "(descriptors)".into()
                    } else {
                        l.into()
                    }
                })
                .collect();
            transcript.insert(line.into(), reply.join("\n"));
        }
        client.end();
        pen.becomes_idle();
        transcript.insert("connection 0 after close".into(), pen.control("connection 0"));
        transcript.insert("servers after close".into(), steady(&pen, &backends, &pen.control("servers")));
        transcript
    });
}

#[test]
fn logs() {
    compare("logs", |side| {
        let mut transcript = Transcript::new();
        let recorder = Backend::recorder("ok");
        for options in ["", "-H"] {
            let setup = side.setup();
            let log = setup.file("log");
            let mut pen =
                setup.options(format!("-O poll -l {log} {options}")).server(recorder.address()).start();
            let requests: &[(&str, &[u8])] = &[
                ("a request", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
                ("no line feed", b"nonl"),
                ("a line feed alone", b"\n"),
                ("two requests in one read", b"GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n"),
                ("a carriage return", b"a\rb\n"),
                ("beyond ASCII", b"\xc3\xa9\n"),
                ("control characters", b"\x00\x1b\t\x7f\n"),
                ("a hundred bytes", &[b'N'; 100]),
                ("a hundred and one", &[b'O'; 101]),
            ];
            for (n, (_, request)) in requests.iter().enumerate() {
                let mut client = pen.client_from(u8::try_from(n).unwrap() + 2);
                client.send(request);
                client.finish();
                assert_eq!(client.text(), "ok");
            }
            // C pen writes its buffer at the end.
            pen.terminate();
            let text = fs::read(&log).unwrap();
            for (n, (name, _)) in requests.iter().enumerate() {
                let own = format!("127.0.0.{} ", n + 2);
                let of_client = text.split(|b| *b == b'\n').filter(|l| l.starts_with(own.as_bytes()));
                let lines: Vec<String> = of_client
                    .map(|l| l.escape_ascii().to_string())
                    .map(|l| {
                        let words: Vec<&str> = l.splitn(3, ' ').collect();
                        assert!(words[1].parse::<u64>().is_ok(), "{l}");
                        format!("{} EPOCH {}", words[0], words[2])
                    })
                    .collect();
                transcript.insert(format!("{name} {options}"), lines.join(" + "));
            }
        }
        transcript
    });
}

#[test]
fn datagrams_to_penlogd() {
    compare("datagrams", |side| {
        let mut transcript = Transcript::new();
        let penlogd = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        penlogd.set_read_timeout(Some(DEADLINE)).unwrap();
        let recorder = Backend::recorder("ok");
        let pen = side
            .setup()
            .options(format!("-O poll -l {}", penlogd.local_addr().unwrap()))
            .server(recorder.address())
            .start();
        for (name, request) in [
            ("a request", &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..]),
            ("no line feed", b"nonl"),
            ("beyond ASCII", b"\xc3\xa9\n"),
            ("too long", &[b'L'; 2000]),
        ] {
            let mut client = pen.client_from(2);
            client.send(request);
            client.finish();
            assert_eq!(client.text(), "ok");
            let mut buffer = [0; 4096];
            let length = penlogd.recv(&mut buffer).expect("a datagram");
            transcript.insert(name.into(), buffer[..length].escape_ascii().to_string());
        }
        transcript
    });
}

#[test]
fn written_files() {
    compare("written", |side| {
        let mut transcript = Transcript::new();
        let backends = greeters(2);
        let setup = side.setup();
        let page = setup.file("page");
        let pen =
            backends.iter().fold(setup.options(format!("-w {page}")), |s, b| s.server(b.address())).start();
        let mut write = || {
            assert_eq!(pen.control(&format!("write {}", pen.file("written"))), "");
            // Only root's tests name a user, and C pen never writes what concerns TLS.
            let compared = |l: &&str| !l.starts_with('#') && !l.starts_with("user ") && !l.contains("ssl_");
            for line in pen.read("written").lines().filter(compared) {
                transcript.insert(steady(&pen, &backends, line), "there".into());
            }
        };
        write();
        for line in [
            "acl 1 permit 1.2.3.4",
            "acl 1 deny 10.0.0.0 255.0.0.0",
            "acl 1 permit ::1",
            "acl 1 deny fe80::/10",
            "ascii",
            "blacklist 20",
            "client_acl 1",
            "hash",
            "http",
            "roundrobin",
            "stubborn",
            "weight",
            "prio",
            "tcp_nodelay",
            "tcp_fastclose both",
            "timeout 7",
            "tracking 8",
            "idle_timeout 9",
            "pending_max 10",
            "source 127.0.0.1",
            "no web_stats",
            "server 1 acl 1 max 5 hard 10 weight 3 prio 1",
            "server 2 address /run/server",
        ] {
            pen.control(line);
        }
        write();
        transcript
    });
}

#[test]
fn what_c_pen_wrote_is_taken() {
    compare("C file", |side| {
        let mut transcript = Transcript::new();
        // A file as C pen 0.34.1 writes it.
        let setup = side.setup();
        let file = setup.write("file", include_str!("differential/written-by-c"));
        let pen = setup.options(format!("-F {file}")).start();
        for line in
            ["servers", "mode", "blacklist", "timeout", "tracking", "client_acl", "control_acl", "debug"]
        {
            transcript.insert(line.into(), steady(&pen, &[], &pen.control(line)));
        }
        transcript
    });
}

/// How a command line ends, or that it runs.
fn outcome(side: &Side, args: &[String]) -> String {
    let directory = directory();
    let pid_file = directory.path().join("pid");
    let mut command = Command::new(side.program);
    if !args.is_empty() {
        command.arg("-p").arg(&pid_file);
    }
    command
        .current_dir(directory.path())
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let how = wait_for("it to serve or to end", || match child.try_wait().unwrap() {
        Some(status) => Some(status.to_string()),
        // C pen writes its pid file before it finds that it has no socket, and binds before it finds that it has no jail.
        None => (fs::read_to_string(&pid_file).is_ok_and(|t| !t.is_empty()) && process::listens(child.id()))
            .then(|| "runs".into()),
    });
    _ = child.kill();
    _ = child.wait();
    how
}

#[test]
fn command_lines() {
    compare("command lines", |side| {
        let mut transcript = Transcript::new();
        for line in include_str!("differential/command-lines").lines() {
            let attempt = || {
                let port = free_port().to_string();
                let words = line.split(' ').map(|w| w.replace("PORT", &port).replace("EMPTY", ""));
                outcome(side, &words.filter(|w| w != "NONE").collect::<Vec<_>>())
            };
            // Somebody else may have been faster with the port.
            let failed = "exit status: 1";
            let end = (0..5).map(|_| attempt()).find(|end| end != failed);
            transcript.insert(line.into(), end.unwrap_or_else(|| failed.into()));
        }
        transcript
    });
}

#[test]
fn server_operands() {
    compare("operands", |side| {
        let mut transcript = Transcript::new();
        // Nobody's addresses (RFC 5737): ours refuses a server that is itself.
        for operand in [
            "192.0.2.9",
            "192.0.2.9:",
            "192.0.2.9:0",
            "192.0.2.9:99",
            "192.0.2.9:smtp",
            "192.0.2.9:99:5",
            "192.0.2.9:99:5:6",
            "192.0.2.9:99:5:6:7",
            "192.0.2.9:99:5:6:7:8",
            "192.0.2.9:99::6",
            "[::1]",
            "[::1]:99",
            "[::1]:99:5:6",
            "[192.0.2.9]:99",
            "localhost:99",
            "/run/server",
            "/run/server:5",
            "/run/server:5:6:7:8:9",
        ] {
            let pen = side.setup().listen("%").server(operand).start();
            let shown =
                pen.control("servers").replace(&format!("port {} ", pen.address.port()), "port SAME ");
            transcript.insert(operand.into(), shown);
        }
        transcript
    });
}

#[test]
fn ends() {
    compare("signals", |side| {
        let mut transcript = Transcript::new();
        for signal in [
            Signal::SIGTERM,
            Signal::SIGINT,
            Signal::SIGUSR2,
            Signal::SIGPIPE,
            Signal::SIGHUP,
            Signal::SIGUSR1,
        ] {
            let backends = greeters(1);
            let mut pen = side.setup().wrapper("prlimit --core=0").servers(&backends).start();
            pen.signal(signal);
            let how = if matches!(signal, Signal::SIGPIPE | Signal::SIGHUP | Signal::SIGUSR1) {
                format!("serves {}", pen.choice(2))
            } else {
                let status = pen.wait().unwrap();
                format!(
                    "{status}, pid file {}",
                    if pen.path().join("pid").exists() { "left" } else { "removed" }
                )
            };
            transcript.insert(signal.to_string(), how);
        }
        let mut pen = side.setup().options("-X").start();
        let reply = pen.control("exit");
        let status = pen.wait().unwrap();
        let left = if pen.control_path().exists() { "left" } else { "removed" };
        transcript.insert("exit".into(), format!("{reply:?}, {status}, control socket {left}"));
        transcript
    });
}

#[test]
fn forwarded_headers() {
    compare("headers", |side| {
        let mut transcript = Transcript::new();
        let backend = Backend::http("W");
        let pen = side.setup().options("-O poll -H").server(backend.address()).start();
        for (name, request) in [
            ("GET", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
            ("without headers", "GET / HTTP/1.0\r\n\r\n"),
            ("POST with a body", "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"),
            ("PUT", "PUT / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"),
            ("its own address", "GET / HTTP/1.1\r\nx-forwarded-for: 9.9.9.9\r\n\r\n"),
            ("its own scheme", "GET / HTTP/1.1\r\nX-Forwarded-Proto: x\r\n\r\n"),
        ] {
            let number = backend.accepted();
            let mut client = pen.client_from(5);
            client.send(request);
            assert!(client.line().starts_with("HTTP/1.1 200"));
            client.finish();
            transcript.insert(name.into(), String::from_utf8(backend.received_by(number)).unwrap());
        }
        transcript
    });
}

#[test]
fn penctl() {
    // Each penctl against our pen, and ours against C pen by the way of the other groups' harness.
    compare("penctl", |side| {
        let mut transcript = Transcript::new();
        let pen = Setup::new().start();
        let socket = pen.control_path();
        let socket = socket.to_str().unwrap();
        for args in [
            &[socket, "blacklist"][..],
            &[socket, "blacklist", "12"],
            &[socket, "mode"],
            &[socket, "blacklist 13"],
            &[socket, "", "blacklist"],
            &[socket, "frobnicate"],
            &[socket, "blacklist", "x"],
            &[socket],
            &["127.0.0.1", "pid"],
            &["/nonexistent/socket", "pid"],
        ] {
            let output = assert_cmd::Command::new(side.penctl).args(args).timeout(DEADLINE).output().unwrap();
            let step = steady(&pen, &[], &args.join(" "));
            let text = |bytes: &[u8]| steady(&pen, &[], &String::from_utf8_lossy(bytes));
            transcript.insert(
                step,
                format!("{:?} {:?} {:?}", output.status.code(), text(&output.stdout), text(&output.stderr)),
            );
        }
        transcript
    });
}

#[test]
fn half_closes() {
    compare("half close", |side| {
        let recorder = Backend::recorder("the reply");
        // With epoll C pen loses the reply now and then.
        let pen = side.setup().command("poll").server(recorder.address()).start();
        let mut client = pen.client();
        client.send("request");
        client.finish();
        Transcript::from([("the client first".into(), client.text())])
    });
}

#[test]
fn our_penctl_commands_c_pen() {
    if !Path::new(C_PEN).exists() {
        return skipped("our penctl and C pen", "no C pen at /usr/bin/pen (apt-get install pen)");
    }
    let pen = Setup::new().program(C_PEN).start();
    let output = pen.penctl("blacklist 12");
    assert_eq!((output.stdout.as_slice(), output.status.code()), (&b"12\n"[..], Some(0)));
    let mut client = Client::to_path(&pen.control_path());
    client.send("blacklist\n");
    assert_eq!(client.text(), "12\n");
}
