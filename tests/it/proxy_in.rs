//! PROXY headers of proxies in front of pen: whom they make the client, and whose count.

use crate::support::backend::greeters;
use crate::support::client::End;
use crate::support::http::{admin_of, get};
use crate::support::proxy::{v1, v2, v2_of, v2_with};
use crate::support::tls::{Pair, TlsClient};
use crate::support::{Backend, Client, Pen, Setup, wait_until};

/// The address that clients are said to have connected to.
const EDGE: &str = "192.0.2.1:80";

/// A pen that takes headers from 127.0.0.2 and from nobody else.
pub(super) fn behind(word: &str) -> Setup {
    Setup::new()
        .command("acl 3 permit 127.0.0.2")
        .command("acl 3 default deny")
        .command("proxy_acl 3")
        .command(format!("proxy_protocol {word}"))
}

/// Connects as a proxy does that 127.0.0.2 is, and sends that first.
fn proxied(pen: &Pen, bytes: &[u8]) -> Client {
    let mut client = pen.client_from(2);
    client.send(bytes);
    client
}

/// How many connections were closed for their header, as the status page says.
fn closed(pen: &Pen) -> usize {
    pen.control(&format!("web_stats {}", pen.file("page")));
    let page = pen.control("status");
    let told = page.split("Connections closed for a missing or wrong PROXY header: ").nth(1);
    told.map_or(0, |rest| rest.split('<').next().unwrap().trim().parse().unwrap())
}

#[test]
fn the_client_in_the_header_is_the_client() {
    let backends = greeters(3);
    for word in ["accept", "require"] {
        let pen = behind(word)
            .command("acl 1 deny 203.0.113.66")
            .command("client_acl 1")
            .servers(&backends)
            .start();
        let choice = |header: Vec<u8>| match proxied(&pen, &header).line() {
            line if line.is_empty() => "EOF".to_owned(),
            line => line,
        };
        // Affinity is that of the clients, over IPv4 and IPv6, by either version.
        let first = choice(v1("203.0.113.5:1000", EDGE));
        let second = choice(v2("[2001:db8::5]:1000", "[2001:db8::1]:80"));
        assert_ne!(first, second);
        pen.becomes_idle();
        assert_eq!(choice(v2("203.0.113.5:1001", EDGE)), first);
        assert_eq!(choice(v1("[2001:db8::5]:9", "[2001:db8::1]:80")), second);
        assert_eq!(choice(v2("[::ffff:203.0.113.5]:7", "[2001:db8::1]:80")), first);
        // client_acl judges them, and the proxy is nobody's client.
        assert_eq!(choice(v2("203.0.113.66:1", EDGE)), "EOF");
        let recent = pen.control("recent");
        assert!(recent.contains("203.0.113.5 connects 3 "), "{recent}");
        assert!(recent.contains("2001:db8::5 connects 2 ") && !recent.contains("127.0.0.2"), "{recent}");
        assert_eq!(closed(&pen), 0);
    }
}

#[test]
fn what_pen_tells_of_connections_is_the_client_in_the_header() {
    let web = Backend::http("A");
    let setup = behind("require");
    let log = setup.file("log");
    let pen = setup
        .options(format!("-H -l {log}"))
        .command("http_forwarded replace")
        .command("http_rfc7239")
        .server(web.address())
        .start();
    let ask = |header: Vec<u8>| {
        let mut client = proxied(&pen, &header);
        client.send("GET /page HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 9.9.9.9\r\n\r\n");
        assert!(client.line().starts_with("HTTP/1.1 200"));
        client
    };
    let open = ask(v1("203.0.113.5:4711", EDGE));
    let shown = pen.control("json connections");
    assert!(shown.contains("\"client_address\":\"203.0.113.5\",\"client_port\":4711"), "{shown}");
    drop(open);
    let request = String::from_utf8(web.received_by(0)).unwrap();
    assert!(request.contains("X-Forwarded-For: 203.0.113.5\r\n"), "{request}");
    assert!(
        request.contains("for=203.0.113.5") && request.contains("X-Forwarded-Proto: http\r\n"),
        "{request}"
    );
    // A proxy that has ended TLS says so.
    drop(ask(v2_with("203.0.113.6:1", EDGE, &[0x20, 0, 5, 1, 0, 0, 0, 1])));
    let request = String::from_utf8(web.received_by(1)).unwrap();
    assert!(request.contains("X-Forwarded-For: 203.0.113.6\r\n"), "{request}");
    assert!(request.contains("X-Forwarded-Proto: https\r\n"), "{request}");
    wait_until("the log", || std::fs::read_to_string(&log).unwrap().lines().count() == 2);
    let log = std::fs::read_to_string(&log).unwrap();
    assert!(log.lines().all(|line| line.starts_with("203.0.113.")), "{log}");
}

#[test]
fn limits_are_those_of_the_client_in_the_header() {
    let backends = greeters(1);
    let pen = behind("require").command("client_conn_max 1").servers(&backends).start();
    let connect = |n: u8| {
        let mut client = proxied(&pen, &v2(&format!("203.0.113.{n}:1"), EDGE));
        (client.line(), client)
    };
    let held = [connect(1), connect(2), connect(3)];
    assert!(held.iter().all(|(line, _)| line == "A"));
    assert_eq!(connect(2).0, "");
    pen.says("refusing connections of 203.0.113.2");
    drop(held);
    wait_until("its place", || connect(2).0 == "A");
}

#[test]
fn a_header_may_come_in_any_pieces_and_what_follows_it_goes_to_the_server() {
    let recorder = Backend::recorder("done");
    for portable in [false, true] {
        let mut setup = behind("require").server(recorder.address());
        if portable {
            setup = setup.environment("PEN_PORTABLE", "1");
        }
        let pen = setup.start();
        let body: Vec<u8> = (0..300_000_u32).map(|n| (n >> 4) as u8).collect();
        let header = v2_with("203.0.113.5:1", EDGE, &[&[4, 0xea, 0x60][..], &[0; 60_000]].concat());
        for header in [v1("203.0.113.5:1", EDGE), v2("203.0.113.5:1", EDGE), header] {
            let before = recorder.accepted();
            // All at once.
            let mut whole = proxied(&pen, &[&header[..], &body].concat());
            whole.finish();
            assert_eq!(whole.text(), "done");
            assert!(recorder.received_by(before) == body);
            // A byte at a time, each in a segment of its own.
            let mut pieces = pen.client_from(2);
            pieces.0.set_tcp_nodelay(true).unwrap();
            let (slowly, rest) = header.split_at(header.len().min(200));
            for byte in slowly {
                pieces.send([*byte]);
            }
            pieces.send([rest, b"hello"].concat());
            pieces.finish();
            assert_eq!(pieces.text(), "done");
            assert_eq!(recorder.received_by(before + 1), b"hello");
        }
    }
}

#[test]
fn servers_that_speak_first_need_nothing_but_the_header() {
    let backends = greeters(1);
    let pen = behind("require").servers(&backends).start();
    assert_eq!(proxied(&pen, &v1("203.0.113.5:1", EDGE)).line(), "A");
}

#[test]
fn tls_begins_behind_the_header() {
    let (authority, echo) = (Pair::root("authority"), Backend::echo());
    let setup = behind("require");
    authority.issue("localhost").write(setup.path(), "pen");
    let options = format!("-E {} -K {}", setup.file("pen.crt"), setup.file("pen.key"));
    let pen = setup.options(options).server(echo.address()).start();
    for together in [true, false] {
        let client = pen.client_from(2);
        // With it the header leaves in one segment with the first message of the handshake.
        client.0.set_tcp_cork(together).unwrap();
        let mut client = client;
        client.send(v2("203.0.113.5:99", EDGE));
        let twin = client.twin();
        let mut tls = std::thread::scope(|scope| {
            let shaken = scope.spawn(|| TlsClient::new(&authority).over(client).unwrap());
            // Whatever was held back goes now.
            twin.0.set_tcp_cork(false).unwrap();
            shaken.join().unwrap()
        });
        tls.send("hello");
        assert_eq!(tls.bytes(5), b"hello");
        let shown = pen.control("json connections");
        assert!(shown.contains("\"client_address\":\"203.0.113.5\",\"client_port\":99"), "{shown}");
        assert!(shown.contains("\"version\":\"TLSv1.3\""), "{shown}");
    }
    // In the handshake it is too late for a header.
    assert!(TlsClient::new(&authority).over(pen.client_from(2)).is_err());
    assert_eq!(closed(&pen), 1);
}

#[test]
fn a_header_from_elsewhere_never_counts() {
    let recorder = Backend::recorder("done");
    let forged = [v1("203.0.113.5:1", EDGE), v2("203.0.113.5:1", EDGE)];
    // It is closed before a byte is read, where everybody is to send a header.
    let pen = behind("require").server(recorder.address()).start();
    for header in &forged {
        let mut client = pen.client_from(9);
        assert_eq!(client.end(), End::Clean);
        _ = std::io::Write::write_all(&mut client.0, header);
    }
    let _good = proxied(&pen, &forged[0]);
    pen.says("closing connections of 127.0.0.9:");
    pen.says("proxy_acl does not permit");
    assert_eq!((pen.stderr().matches("proxy_acl").count(), closed(&pen)), (1, 2));
    wait_until("the good one alone", || recorder.accepted() == 1);
    // Where that is left open, it is a client like any other, and the header is data like any other.
    let pen = behind("accept").server(recorder.address()).start();
    for header in &forged {
        let before = recorder.accepted();
        let mut client = pen.client_from(9);
        client.send(header);
        client.finish();
        assert_eq!(client.text(), "done");
        assert_eq!(recorder.received_by(before), *header);
    }
    assert!(pen.control("recent").contains("127.0.0.9 connects 2 "));
    assert!(!pen.control("recent").contains("203.0.113"));
}

#[test]
fn without_the_setting_a_header_is_data() {
    let recorder = Backend::recorder("done");
    let pen = Setup::new().server(recorder.address()).start();
    assert_eq!(pen.control("proxy_protocol"), "off\n");
    let header = v1("203.0.113.5:1", EDGE);
    let mut client = proxied(&pen, &header);
    client.finish();
    assert_eq!(client.text(), "done");
    assert_eq!(recorder.received_by(0), header);
    // The setting takes effect with the next connection.
    assert_eq!(pen.control("proxy_protocol require"), "require\n");
    let mut client = proxied(&pen, &header);
    client.finish();
    assert_eq!(client.text(), "done");
    assert_eq!(recorder.received_by(1), b"");
    assert!(pen.control("proxy_protocol maybe").contains("off, accept or require"));
}

#[test]
fn who_is_accepted_without_a_header_is_the_client_itself() {
    let recorder = Backend::recorder("done");
    let pen = behind("accept").server(recorder.address()).start();
    for text in ["GET / HTTP/1.0\r\n\r\n", "PROX", "\r\n", ""] {
        let before = recorder.accepted();
        let mut client = proxied(&pen, text.as_bytes());
        client.finish();
        assert_eq!(client.text(), "done", "{text:?}");
        assert_eq!(recorder.received_by(before), text.as_bytes());
    }
    assert!(pen.control("recent").contains("127.0.0.2 connects 4 "));
}

#[test]
fn headers_that_name_no_client_leave_the_connection_its_own() {
    let recorder = Backend::recorder("done");
    let pen = behind("require").server(recorder.address()).start();
    let headers = [
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY UNKNOWN 1.2.3.4 1.2.3.4 1 1\r\n".to_vec(),
        v2_of(0, 0x00, &[]),
        v2_of(0, 0x11, &[1; 12]),
        v2_of(1, 0x00, &[1; 12]),
        v2_of(1, 0x31, &[1; 216]),
    ];
    for (n, header) in headers.iter().enumerate() {
        let mut client = proxied(&pen, &[header, &b"hello"[..]].concat());
        client.finish();
        assert_eq!(client.text(), "done");
        assert_eq!(recorder.received_by(n), b"hello");
    }
    assert!(pen.control("recent").contains("127.0.0.2 connects 6 "));
}

#[test]
fn a_wrong_header_closes_the_connection() {
    let recorder = Backend::recorder("done");
    for word in ["accept", "require"] {
        let pen = behind(word).server(recorder.address()).start();
        let wrong = [
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 99999\r\nGET /".to_vec(),
            b"PROXY TCP9 1.2.3.4 1.2.3.4 1 1\r\n".to_vec(),
            [b"PROXY TCP4 ", &[b'1'; 200][..]].concat(),
            v2_of(1, 0x11, &[0; 11]),
            v2_of(1, 0x51, &[0; 12]),
            v2_of(7, 0x11, &[0; 12]),
            v2_with("203.0.113.5:1", EDGE, &[3, 0, 4, 1, 2, 3, 4]),
        ];
        for (n, header) in wrong.iter().enumerate() {
            // A reset, where bytes behind the header were not read.
            proxied(&pen, header).end();
            assert_eq!(closed(&pen), n + 1);
        }
        pen.says("in its PROXY header: expected two ports from 0 to 65535");
        assert_eq!(pen.stderr().matches("closing connections").count(), 1, "{}", pen.stderr());
        let mut good = proxied(&pen, &v1("203.0.113.5:1", EDGE));
        good.finish();
        assert_eq!(good.text(), "done");
        pen.says("PROXY headers are valid again");
    }
    assert_eq!(recorder.accepted(), 2);
    let pen = behind("require").server(recorder.address()).start();
    // No header, and one that breaks off. The test of whether a port answers is no fault.
    for (text, count) in [("GET / HTTP/1.0\r\n\r\n", 1), ("PROXY TCP4", 2), ("", 2)] {
        let mut client = proxied(&pen, text.as_bytes());
        client.finish();
        client.end();
        assert_eq!(closed(&pen), count, "{text:?}");
    }
}

#[test]
fn closed_connections_are_counted_by_reason() {
    let backends = greeters(1);
    let pen = behind("require").command("timeout 1000").command("admin %").servers(&backends).start();
    let counts = || {
        let text = get(admin_of(&pen), "/metrics").body;
        let of = |reason: &str| {
            let name = format!("pen_proxy_header_faults_total{{reason=\"{reason}\"}} ");
            let value = text.lines().find_map(|line| line.strip_prefix(&name));
            value.unwrap_or_else(|| panic!("{reason}: {text}")).parse::<u64>().unwrap()
        };
        ["denied", "absent", "malformed", "cut_off", "late"].map(of)
    };
    assert_eq!(counts(), [0; 5]);
    assert_eq!(proxied(&pen, &v1("203.0.113.5:1", EDGE)).line(), "A");
    for _ in 0..2 {
        pen.client_from(9).end();
    }
    for text in ["GET / HTTP/1.0\r\n\r\n", "PROXY TCP4 x\r\n", "PROXY TCP4 1", "PROXY TCP4 1", ""] {
        let mut client = proxied(&pen, text.as_bytes());
        client.finish();
        client.end();
    }
    pen.control("timeout 1");
    proxied(&pen, b"PROXY").end();
    assert_eq!(counts(), [2, 1, 1, 2, 1]);
    assert_eq!(closed(&pen), 7);
}

#[test]
fn a_header_is_to_come_within_the_timeout() {
    let backends = greeters(1);
    for word in ["accept", "require"] {
        let pen = behind(word).command("timeout 1").servers(&backends).start();
        let mut late = [pen.client_from(2), proxied(&pen, b"PROXY TCP4 1.2.3.4")];
        for client in &mut late {
            assert_eq!(client.rest(), b"");
        }
        pen.says("no complete PROXY header within 1 s");
        assert_eq!(closed(&pen), 2);
    }
}

#[test]
fn who_sends_no_header_makes_room_when_pen_is_full() {
    let echo = Backend::echo();
    let pen = behind("require").options("-x 3 -t 1000").server(echo.address()).start();
    let mut silent: Vec<Client> = (0..3).map(|_| pen.client_from(2)).collect();
    let full = || pen.control("json connections").matches("\"state\":\"connecting\"").count() == 3;
    wait_until("pen to be full", full);
    let mut client = proxied(&pen, &[v1("203.0.113.5:1", EDGE), b"hello".to_vec()].concat());
    assert_eq!(client.bytes(5), b"hello");
    assert_eq!(silent[0].end(), End::Clean);
}

#[test]
fn a_unix_socket_takes_headers_too() {
    let backends = greeters(1);
    let setup = behind("require");
    let path = setup.file("listen");
    let pen = setup.listen(&path).servers(&backends).start();
    let mut client = Client::to_path(path.as_ref());
    client.send(v2("203.0.113.5:1", EDGE));
    assert_eq!(client.line(), "A");
    assert!(pen.control("recent").starts_with("203.0.113.5 connects 1 "));
}

#[test]
fn commands_reach_a_connection_that_waits_for_its_header() {
    let backends = greeters(1);
    let pen = behind("require").options("-t 1000").servers(&backends).start();
    let mut silent = pen.client_from(2);
    wait_until("the connection", || pen.control("connection 0").contains("state = 1"));
    assert!(pen.control("close 0").contains("closing connection 0"));
    assert_eq!(silent.end(), End::Clean);
    let mut silent = pen.client_from(2);
    wait_until("the connection", || pen.control("connection 0").contains("state = 1"));
    // What was changed meanwhile holds for the client that comes.
    pen.control("acl 1 deny 203.0.113.5");
    pen.control("client_acl 1");
    silent.send(v1("203.0.113.5:1", EDGE));
    assert_eq!(silent.rest(), b"");
}

#[test]
fn datagrams_have_no_such_header() {
    let failure =
        Setup::new().options("-U").command("proxy_protocol accept").server("127.0.0.1:9").try_start();
    let said = failure.unwrap_err().stderr;
    assert!(said.contains("-U (udp) excludes proxy_protocol"), "{said}");
}
