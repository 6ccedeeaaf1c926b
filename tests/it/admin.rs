//! The admin listener: what it answers, to whom, and that nobody holds it up.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use pen::core::json::Document;
use pen::core::settings::Keyword as _;
use serde_json::Value;

use crate::support::backend::{Backend, Refusing, greeters};
use crate::support::client::End;
use crate::support::http::{Answer, admin_of, ask, get};
use crate::support::process;
use crate::support::schema::valid;
use crate::support::tls::{Kind, Pair};
use crate::support::{Client, Pen, Setup, Stopwatch, wait_until};

/// A pen whose admin listener is on another port that the system picks.
fn with_admin() -> Setup {
    Setup::new().command("admin %")
}

fn page(pen: &Pen, path: &str) -> Answer {
    get(admin_of(pen), path)
}

#[test]
fn documents_are_those_of_json() {
    let backends = greeters(2);
    let pen = with_admin().servers(&backends).start();
    let (_held, _) = pen.hold(3);
    for name in Document::WORDS.iter().copied().chain(["why/127.0.0.1"]) {
        let answer = page(&pen, &format!("/api/v1/{name}"));
        assert_eq!((answer.status, &*answer.headers["content-type"]), (200, "application/json"), "{name}");
        valid(name.split('/').next().unwrap(), &answer.body);
    }
    for path in ["/nothing", "/api/v1/", "/api/v1/nothing", "/api/v1/why/x", "/api/v1/why", "/../etc/passwd"]
    {
        assert_eq!(page(&pen, path).status, 404, "{path}");
    }
    let clients = valid("clients", &page(&pen, "/api/v1/clients").body);
    assert_eq!(clients["clients"][0]["address"], "127.0.0.3");
    assert_eq!(pen.control("show admin"), format!("admin {}\n", pen.second_port));
}

#[test]
fn only_reading_is_answered() {
    let pen = with_admin().start();
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"] {
        let answer = ask(
            Client::to(admin_of(&pen)),
            &[&format!("{method} /api/v1/version HTTP/1.1"), "Host: localhost", "Content-Length: 0"],
        );
        assert_eq!((answer.status, &*answer.headers["allow"]), (405, "GET, HEAD"), "{method}");
    }
    let head = ask(Client::to(admin_of(&pen)), &["HEAD /api/v1/version HTTP/1.1", "Host: localhost"]);
    assert_eq!((head.status, &*head.body), (200, ""));
    for path in ["/api/v1/version", "/nothing", "/health", "/metrics"] {
        let headers = page(&pen, path).headers;
        let policy = &headers["content-security-policy"];
        assert!(policy.starts_with("default-src 'none'"), "{path}: {policy}");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_eq!(headers["cache-control"], "no-store");
    }
}

#[test]
fn a_page_of_the_web_cannot_have_a_browser_ask() {
    let pen = with_admin().start();
    let status = |host: &str| {
        ask(Client::to(admin_of(&pen)), &["GET /api/v1/clients HTTP/1.1", &format!("Host: {host}")]).status
    };
    for own in ["localhost", "localhost:8889", "127.0.0.1", "[::1]:1"] {
        assert_eq!(status(own), 200, "{own}");
    }
    for foreign in ["rebound.example", "localhost.rebound.example:80", "192.0.2.1", ""] {
        assert_eq!(status(foreign), 421, "{foreign}");
    }
    assert_eq!(
        ask(Client::to(admin_of(&pen)), &["GET /health HTTP/1.0"]).status,
        503,
        "no name, and no server"
    );
}

/// What the admin listener sends back for these bytes, until it closes the connection.
fn sent_back(pen: &Pen, bytes: impl AsRef<[u8]>) -> String {
    let mut client = Client::to(admin_of(pen));
    client.send(bytes);
    client.finish();
    String::from_utf8_lossy(&client.rest()).into_owned()
}

#[test]
fn a_request_of_any_shape_is_answered_or_refused() {
    let pen = with_admin().start();
    let host = "Host: localhost";
    let many = (0..200).map(|n| format!("X-{n}: 1\r\n")).collect::<String>();
    for (request, status) in [
        (format!("GET /health HTTP/1.1\r\n{host}\r\n\r\n"), "503"),
        (format!("GET http://localhost:1/api/v1/version HTTP/1.1\r\n{host}\r\n\r\n"), "200"),
        (format!("GET http://rebound.example/api/v1/version HTTP/1.1\r\n{host}\r\n\r\n"), "421"),
        (format!("GET / HTTP/1.1\r\n{host}\r\nHost: rebound.example\r\n\r\n"), "421"),
        ("GET /health HTTP/1.1\r\n\r\n".into(), "400"),
        (format!("GET /%6detrics HTTP/1.1\r\n{host}\r\n\r\n"), "200"),
        (format!("GET /metrics?name[]=x HTTP/1.1\r\n{host}\r\n\r\n"), "200"),
        (format!("GET /%zz HTTP/1.1\r\n{host}\r\n\r\n"), "400"),
        (format!("GET /api/v1/why/%5B::1%5D:80 HTTP/1.1\r\n{host}\r\n\r\n"), "200"),
        (format!("GET /api/v1/why/%00 HTTP/1.1\r\n{host}\r\n\r\n"), "404"),
        (format!("GET /%2e%2e/etc/passwd HTTP/1.1\r\n{host}\r\n\r\n"), "404"),
        (format!("OPTIONS * HTTP/1.1\r\n{host}\r\n\r\n"), "405"),
        (format!("CONNECT localhost:80 HTTP/1.1\r\n{host}\r\n\r\n"), "405"),
        (format!("GET / HTTP/1.1\r\n{host}\r\n{many}\r\n"), "431"),
        (format!("GET /api/v1/version HTTP/1.1\r\n{host}\r\nContent-Length: 9\r\n\r\nx"), "200"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), ""),
        ("\u{16}\u{3}\u{1}".into(), ""),
        ("GET /\r\n\r\n".into(), ""),
        (String::new(), ""),
    ] {
        let back = sent_back(&pen, &request);
        let shown: String = request.chars().take(80).collect();
        let code = back.split(' ').nth(1).unwrap_or_default();
        let refused = status.is_empty() && (back.is_empty() || code == "400");
        assert!(refused || !status.is_empty() && code.starts_with(status), "{shown:?}: {back}");
    }
    assert_eq!(page(&pen, "/api/v1/version").status, 200);
}

#[test]
fn a_head_without_end_is_refused() {
    let pen = with_admin().start();
    for begin in ["GET /", "GET / HTTP/1.1\r\nHost: localhost\r\nX: "] {
        let mut client = Client::to(admin_of(&pen));
        client.send(begin);
        // More than the system holds for the two; in the end pen takes nothing any more.
        let piece = [b'x'; 64 * 1024];
        let refused = (0..1000).any(|_| (&client.0).write_all(&piece).is_err());
        assert!(refused, "{begin}");
    }
    assert_eq!(page(&pen, "/api/v1/version").status, 200);
}

#[test]
fn requests_that_do_not_wait_are_answered_in_order() {
    let pen = with_admin().start();
    let requests = ["version", "servers", "nothing", "config"]
        .map(|name| format!("GET /api/v1/{name} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    let back = sent_back(&pen, requests.concat());
    let places = ["\"pid\":", "\"servers\":[", " 404 ", "\"settings\":"].map(|part| back.find(part).unwrap());
    assert!(places.is_sorted(), "{back}");
    assert_eq!(back.matches("HTTP/1.1 ").count(), 4);
}

#[test]
fn many_idle_clients_keep_no_request_waiting() {
    let pen = with_admin().start();
    let request = "GET /api/v1/version HTTP/1.1\r\nHost: localhost\r\n\r\n";
    // They say nothing, begin a request, or have their answer and keep the connection.
    for (said, count) in [("", 800), ("", 200), ("GET /health HTTP/1.1\r\nHo", 200), (request, 200)] {
        let stopwatch = Stopwatch::start();
        let idle: Vec<Client> = (0..count)
            .map(|_| {
                let mut client = Client::to(admin_of(&pen));
                client.send(said);
                client
            })
            .collect();
        assert_eq!(page(&pen, "/api/v1/version").status, 200);
        let took = stopwatch.elapsed();
        assert!(took < Duration::from_secs(1), "{said:?}: {took:?}");
        drop(idle);
    }
}

#[test]
fn of_more_than_64_clients_the_one_that_is_idle_longest_gives_way() {
    let pen = with_admin().start();
    let mut idle: Vec<Client> = (0..2).map(|_| Client::to(admin_of(&pen))).collect();
    let request = "GET /api/v1/version HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let asked = || {
        let mut client = Client::to(admin_of(&pen));
        client.send(request);
        assert_eq!(client.line(), "HTTP/1.1 200 OK\r");
        client
    };
    let held: Vec<Client> = (0..62).map(|_| asked()).collect();
    assert!(idle[0].is_silent_for(Duration::from_millis(200)), "nobody waits");
    let _next = asked();
    assert_eq!(idle[0].end(), End::Clean);
    assert!(idle[1].is_silent_for(Duration::from_millis(20)));
    drop(held);
}

#[test]
fn secrets_are_shown_to_nobody() {
    let (authority, backend) = (Pair::root("ca"), Backend::greeter("A"));
    let pen = super::tls::pen(&authority, Kind::Ec, &backend, |setup| setup.command("admin %"));
    let config = page(&pen, "/api/v1/config").body;
    let config: Value = serde_json::from_str(&config).unwrap();
    let files = ["ssl_certfile", "ssl_keyfile"].map(|name| config["settings"][name].to_string());
    let paths = files.iter().flat_map(|list| list.split('"').filter(|part| part.starts_with('/')));
    let keys: Vec<String> = paths
        .map(|path| std::fs::read_to_string(path).unwrap())
        .filter_map(|text| Some(text.split_once("PRIVATE KEY-----\n")?.1.lines().next()?.to_owned()))
        .collect();
    assert!(!keys.is_empty(), "{files:?}");
    let documents = Document::WORDS.iter().map(|name| format!("/api/v1/{name}"));
    for path in documents.chain(["/".into(), "/metrics".into(), "/dashboard/data".into()]) {
        let body = page(&pen, &path).body;
        assert!(
            !body.contains("PRIVATE KEY") && keys.iter().all(|key| !body.contains(key)),
            "{path}: {body}"
        );
    }
}

#[test]
fn the_access_list_says_who_may_ask() {
    let pen = with_admin().command("acl 5 permit 127.0.0.7").command("admin_acl 5").start();
    let request = ["GET /api/v1/version HTTP/1.1", "Host: localhost"];
    assert_eq!(ask(Client::from("127.0.0.7", admin_of(&pen)), &request).status, 200);
    let mut denied = Client::from("127.0.0.8", admin_of(&pen));
    denied.finish();
    assert_eq!(denied.rest(), b"");
    pen.control("admin_acl 0");
    assert_eq!(ask(Client::from("127.0.0.8", admin_of(&pen)), &request).status, 200);
}

#[test]
fn health_is_that_of_the_servers() {
    let backends = greeters(1);
    let pen = with_admin().servers(&backends).start();
    assert_eq!((page(&pen, "/health").status, &*page(&pen, "/health").body), (200, "ok\n"));
    pen.control("server 0 blacklist 60");
    assert_eq!(page(&pen, "/health").status, 503);
    pen.control("emergency 127.0.0.1:9");
    assert_eq!(page(&pen, "/health").status, 200);
    pen.control("no emergency");
    assert_eq!(page(&pen, "/health").status, 503);
    pen.control("server 0 blacklist 0");
    assert_eq!(page(&pen, "/health").status, 200);
    for state in ["drain", "maint"] {
        pen.control(&format!("server 0 state {state}"));
        assert_eq!(page(&pen, "/health").status, 503, "{state}");
    }
}

/// `/health`, the document that `check-health` reads, the page and pen's own message are of one mind.
#[test]
fn health_knows_who_is_never_served() {
    let backends = greeters(2);
    let pen = with_admin().servers(&backends).command("acl 4 default deny").start();
    let serves = || {
        let serves = page(&pen, "/health").status == 200;
        let document: Value = serde_json::from_str(&page(&pen, "/api/v1/servers").body).unwrap();
        assert_eq!(document["can_serve"], serves);
        assert_eq!(page(&pen, "/").body.contains("no server can serve new clients"), !serves);
        serves
    };
    let nobody = "no server takes new clients, and they are closed: ";
    assert!(serves());
    for list in ["acl 4 default deny", "acl 4 deny 0.0.0.0/0"] {
        pen.control("no acl 4");
        pen.control(list);
        assert!(!pen.control("server 0 acl 4").contains(nobody));
        assert!(serves(), "one is left");
        assert!(pen.control("server 1 acl 4").starts_with(nobody), "{list}");
        assert!(!serves(), "{list}");
        assert_eq!(pen.choice(2), "EOF");
        for command in ["server 0 acl 0", "server 1 acl 0"] {
            pen.control(command);
        }
        assert!(serves());
    }
    for (change, back) in [
        ("client_acl 4", "client_acl 0"),
        ("tarpit_acl 4", "no tarpit_acl"),
        ("server 1 state drain", "server 1 state ready"),
        ("server 1 blacklist 60", "server 1 blacklist 0"),
    ] {
        pen.control("server 0 state maint");
        assert!(serves(), "{change}");
        pen.control(change);
        assert!(!serves(), "{change}");
        pen.control(back);
        pen.control("server 0 state ready");
        assert!(serves(), "{back}");
    }
    // What passes does not count.
    for n in [0, 1] {
        pen.control(&format!("server {n} max 1"));
    }
    let _held = [pen.hold(2), pen.hold(3)];
    assert_eq!(pen.choice(4), "EOF");
    assert!(serves());
}

/// With stubborn the emergency server is not used.
#[test]
fn health_and_why_know_what_stubborn_does() {
    let (dead, backends) = (Refusing::new(), greeters(1));
    let emergency = format!("emergency {}", backends[0].address());
    let pen = with_admin().server(dead.address()).command(&emergency).start();
    assert_eq!((pen.choice(2), page(&pen, "/health").status), ("A".into(), 200));
    pen.control("stubborn");
    pen.control("server 0 blacklist 0");
    assert_eq!(page(&pen, "/health").status, 200, "nobody has tried");
    assert_eq!((pen.choice(2), page(&pen, "/health").status), ("EOF".into(), 503));
    let text = pen.control("why 127.0.0.2");
    let server = text.lines().find(|line| line.starts_with("server 0 (")).unwrap();
    assert!(server.contains(" cannot serve: it failed, and stays blacklisted for "), "{text}");
    let spare = text.lines().find(|line| line.contains("emergency server")).unwrap();
    assert!(spare.ends_with(" cannot serve: pen does not use it (stubborn)"), "{text}");
    let last = text.lines().last().unwrap();
    assert!(last.starts_with("it would get server 0 ("), "{text}");
    assert!(last.ends_with(" all the same: no other can serve it"), "{text}");
    pen.control("no stubborn");
    assert_eq!((pen.choice(2), page(&pen, "/health").status), ("A".into(), 200));
    assert!(
        pen.control("why 127.0.0.2").lines().last().unwrap().starts_with("it would get the emergency server")
    );
}

/// With all places taken by clients that send nothing, or half a request, or take nothing of a long answer, another one
/// waits until their time is over and no longer.
#[test]
fn slow_clients_are_sent_away() {
    let pen = with_admin().start();
    pen.has_servers(30_000);
    let slow: Vec<Client> = (0..64)
        .map(|n| {
            let mut client = Client::to(admin_of(&pen));
            match n {
                0..4 => client.send("GET /api/v1/servers HTTP/1.1\r\nHost: localhost\r\n\r\n"),
                4..32 => client.send("GET /api/v1/version HTTP/1.1\r\nHost: local"),
                _ => {}
            }
            client
        })
        .collect();
    assert_eq!(page(&pen, "/api/v1/version").status, 200);
    for mut client in slow {
        client.end();
    }
}

/// Long answers are made as their clients read them: those that read nothing take neither time from others nor memory
/// for the whole.
#[test]
fn answers_that_nobody_reads_hold_up_nobody() {
    let pen = with_admin().start();
    pen.has_servers(1000);
    for path in ["/metrics", "/"] {
        // The first answer takes memory that stays.
        page(&pen, path);
        let before = process::resident(pen.pid());
        let _unread: Vec<Client> = (0..60)
            .map(|_| {
                let mut client = Client::to(admin_of(&pen));
                client.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
                client
            })
            .collect();
        for _ in 0..5 {
            let stopwatch = Stopwatch::start();
            page(&pen, "/health");
            assert!(stopwatch.elapsed() < Duration::from_secs(1), "{path}: {:?}", stopwatch.elapsed());
        }
        let grown = process::resident(pen.pid()).saturating_sub(before);
        assert!(grown < 32 * 1024, "{path}: {grown} KiB for 60 answers");
    }
}

#[test]
fn it_may_be_at_a_path_and_its_file_goes_with_it() {
    let setup = Setup::new();
    let path = setup.file("admin");
    let mut pen = setup.command(format!("admin {path}")).start();
    let answer = ask(Client::to_path(Path::new(&path)), &["GET /api/v1/version HTTP/1.1", "Host: any.name"]);
    assert_eq!(answer.status, 200);
    pen.terminate();
    assert!(!Path::new(&path).exists());
}

/// Clients of a path are served without TLS.
#[test]
fn the_page_names_the_protocol_that_is_spoken() {
    let root = Pair::root("page");
    let setup = with_admin();
    let cert = setup.write("cert", root.cert_pem() + &root.key_pem());
    for (path, protocol) in [(None, "TLS"), (Some(setup.file("socket")), "TCP")] {
        let setup = with_admin().option("-E", &cert);
        let pen = path.iter().fold(setup, |setup, path| setup.listen(path)).start();
        let body = page(&pen, "/").body;
        assert!(body.contains(&format!(r#"<span class="protocol">{protocol}</span>"#)), "{body}");
    }
}

/// Clients that reached it by way of pen would have pen's own address.
#[test]
fn it_is_no_server() {
    let pen = with_admin().start();
    let reply = pen.control(&format!("server 1 address 127.0.0.1 port {}", pen.second_port));
    assert!(reply.contains("pen's own address"), "{reply}");
}

#[test]
fn what_cannot_be_bound_or_changed_is_told() {
    let pen = with_admin().start();
    let failure = Setup::new().command(format!("admin {}", pen.second_port)).fixed_port().try_start();
    let failure = failure.expect_err("it starts on a taken port");
    assert!(failure.stderr.contains("admin: "), "{}", failure.stderr);
    let reply = pen.control("admin 1");
    assert_eq!(reply, "error: admin: a change needs a restart of pen\n");
    wait_until("an answer", || page(&pen, "/api/v1/version").status == 200);
}

#[test]
fn its_clients_leave_descriptors_to_the_others() {
    let backends = greeters(1);
    let setup = with_admin().wrapper("prlimit --nofile=300").options("-x 4000");
    let pen = setup.servers(&backends).start();
    // A sixteenth of them, as 32 are for the control socket and 64 for what pen itself needs.
    pen.says("there are descriptors for 93 connections only");
    let _held: Vec<_> = (0..93).map(|_| pen.hold(2)).collect();
    let _silent: Vec<_> = (0..70).map(|_| Client::to(admin_of(&pen))).collect();
    assert_eq!(page(&pen, "/health").status, 200);
    assert!(pen.control("servers").contains("conn 93"), "{}", pen.control("servers"));
}
