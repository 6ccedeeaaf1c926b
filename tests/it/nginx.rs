//! The whole way: clients, pen, two nginx, penlog on each, penlogd; and the same afterwards with mergelogs.

use std::fs;
use std::io::Read as _;

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;

use crate::support::nginx::Nginx;
use crate::support::weblog::{MERGELOGS, Penlog, Penlogd, run};
use crate::support::{Client, Setup, directory, skipped, wait_until};

/// The paths of the requests; the last are what needs escaping, and longer than a log line.
fn paths(round: usize) -> Vec<String> {
    let mut paths: Vec<String> = (0..12).map(|n| format!("/{round}/page/{n}?a=b&c=%20d")).collect();
    paths.extend([
        "/same".into(),
        "/same".into(),
        format!("/{round}/\"quoted\\\""),
        format!("/{round}/\u{e9}t\u{e9}"),
    ]);
    paths.push(format!("/{round}/{}", "long/".repeat(400)));
    paths
}

/// Client and path of each line, sorted; a long path is cut where the shortest of the logs cuts it.
fn summary<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<String> {
    let mut all: Vec<String> = pairs.map(|(client, path)| format!("{client} {:.60}", path)).collect();
    all.sort();
    all
}

/// The path in a merged line, unescaped from nginx's way (`\xHH`).
fn pair(line: &str) -> (String, String) {
    let (client, rest) = line.split_once(' ').unwrap();
    let request = rest.split("] \"").nth(1).unwrap().split('"').next().unwrap();
    let path = request.split(' ').nth(1).unwrap();
    let mut bytes = Vec::new();
    let mut rest = path;
    while let Some((plain, escape)) = rest.split_once("\\x") {
        bytes.extend(plain.bytes());
        bytes.push(u8::from_str_radix(&escape[..2], 16).unwrap());
        rest = &escape[2..];
    }
    bytes.extend(rest.bytes());
    (client.to_owned(), String::from_utf8_lossy(&bytes).into_owned())
}

fn merged(text: &str) -> Vec<String> {
    let pairs: Vec<_> = text.lines().map(pair).collect();
    summary(pairs.iter().map(|(client, path)| (client.as_str(), path.as_str())))
}

#[test]
fn the_merged_log_is_what_the_clients_know() {
    let directory = directory::directory();
    let path = |name: &str| directory.path().join(name);
    let mut penlogd = Penlogd::start("127.0.0.1:0", &["-w", "5000"]);
    let port = penlogd.address.port();
    let (mut servers, mut penlogs) = (Vec::new(), Vec::new());
    for ip in ["127.0.0.2", "127.0.0.3"] {
        let (fifo, file) = (path(&format!("{ip}.fifo")), path(&format!("{ip}.log")));
        nix::unistd::mkfifo(&fifo, Mode::from_bits_truncate(0o666)).unwrap();
        penlogs.push(Penlog::start(&["127.0.0.1", &port.to_string(), ip], Some(&fifo)));
        let http = format!(
            "access_log {} combined; access_log {} combined; large_client_header_buffers 4 16k;",
            fifo.display(),
            file.display()
        );
        let Some(nginx) = Nginx::start(ip, directory.path(), &http, "location / { return 200 ok; }") else {
            return skipped("nginx behind pen", "no nginx");
        };
        servers.push(nginx);
    }
    let setup = |log: &str| {
        let setup = Setup::new().options(format!("-H -r -l {log}"));
        servers.iter().fold(setup, |setup, nginx| setup.server(nginx.address)).start()
    };
    let file = path("pen.log");
    let pens = [setup(&format!("127.0.0.1:{port}")), setup(file.to_str().unwrap())];
    let (mut truth, mut afterwards) = (Vec::new(), Vec::new());
    for round in 0..3 {
        for (n, request) in paths(round).into_iter().enumerate() {
            for (pen, truth) in pens.iter().zip([&mut truth, &mut afterwards]) {
                let client = format!("127.0.0.{}", 20 + n % 9);
                // What went through the other pen is told by its path.
                let request =
                    if std::ptr::eq(pen, &pens[1]) { format!("/after{request}") } else { request.clone() };
                let mut stream = Client::from(&client, pen.address);
                stream.send(format!("GET {request} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
                let mut reply = Vec::new();
                stream.0.read_to_end(&mut reply).unwrap();
                assert!(reply.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&reply));
                truth.push((client, request));
            }
        }
        // When penlogd is restarted none of the lines that count may be on the way.
        wait_until("every line", || {
            let rotated = (0..round).map(|n| fs::read_to_string(path(&format!("log.{n}"))).unwrap());
            let live = rotated.chain([penlogd.log()]).collect::<String>();
            live.lines().filter(|line| !line.contains("GET /after")).count() >= truth.len()
                && fs::read_to_string(&file).unwrap().lines().count() >= afterwards.len()
        });
        match round {
            // Rotated, then restarted.
            0 => {
                fs::rename(penlogd.file("log"), path("log.0")).unwrap();
                penlogd.signal(Signal::SIGHUP);
                wait_until("a new log", || penlogd.file("log").exists());
            }
            1 => {
                let kept = penlogd.terminate();
                fs::rename(kept.path().join("log"), path("log.1")).unwrap();
                penlogd = Penlogd::start_in(kept, &format!("127.0.0.1:{port}"), &["-w", "5000"]);
            }
            _ => {}
        }
    }
    let live =
        [path("log.0"), path("log.1"), penlogd.file("log")].map(|f| fs::read_to_string(f).unwrap()).concat();
    let live: String =
        live.lines().filter(|line| !line.contains("GET /after")).map(|l| format!("{l}\n")).collect();
    assert_eq!(merged(&live), summary(truth.iter().map(|(c, p)| (c.as_str(), p.as_str()))));
    let mut args = vec!["-p".to_owned(), file.to_str().unwrap().to_owned()];
    args.extend(
        ["127.0.0.2", "127.0.0.3"].map(|ip| format!("{ip}:{}", path(&format!("{ip}.log")).display())),
    );
    let output = run(MERGELOGS, &args);
    let text = String::from_utf8(output.stdout).unwrap();
    let text: String =
        text.lines().filter(|line| line.contains("GET /after")).map(|l| format!("{l}\n")).collect();
    assert_eq!(merged(&text), summary(afterwards.iter().map(|(c, p)| (c.as_str(), p.as_str()))));
    drop(penlogs);
}
