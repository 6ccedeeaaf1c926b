//! The same scripts for Debian's C pen 0.34.1 and for ours: what they answer, choose, log and write is compared, and
//! whatever differs must stand in the table `differential/wanted` with its reason. A line of the table that fits no longer
//! fails, too.

mod compare;
mod programs;
mod selection;
mod udp;

use std::fs;

use crate::support::backend::{Backend, greeters};
use crate::support::wait::DEADLINE;
use crate::support::wait_until;
use compare::{Transcript, compare, dare, steady};

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
