//! The request log: to a file, and to a penlogd.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;

use crate::support::backend::Backend;
use crate::support::port::reserve_datagrams;
use crate::support::wait::DEADLINE;
use crate::support::{Client, Pen, Setup, Stopwatch, namespace, skipped, wait_for, wait_until};

/// Sends a request, and waits until pen has passed it on.
fn request(pen: &Pen, n: u8, text: impl AsRef<[u8]>) {
    let mut client = pen.client_from(n);
    client.send(text);
    client.finish();
    assert_eq!(client.text(), "ok");
}

/// The lines so far, all of them whole. Who reads while pen writes may see a part of the last one.
fn lines(file: &str) -> Vec<String> {
    let text = wait_for("whole lines only", || {
        Some(fs::read_to_string(file).unwrap_or_default())
            .filter(|text| text.is_empty() || text.ends_with('\n'))
    });
    text.lines().map(str::to_owned).collect()
}

/// Waits for so many lines, and gives them without their times, which are checked.
fn logged(file: &str, count: usize) -> Vec<String> {
    wait_until("the lines to be in the file", || lines(file).len() >= count);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    lines(file)
        .iter()
        .map(|line| {
            let (client, rest) = line.split_once(' ').unwrap();
            let (epoch, rest) = rest.split_once(' ').unwrap();
            let epoch: u64 = epoch.parse().unwrap();
            assert!(epoch <= now && now - epoch < 60, "{line}");
            format!("{client} {rest}")
        })
        .collect()
}

#[test]
fn a_line_a_request_within_a_second() {
    let recorder = Backend::recorder("ok");
    let setup = Setup::new();
    let file = setup.file("log");
    let pen = setup.options(format!("-l {file}")).server(recorder.address()).start();
    request(&pen, 2, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    let stopwatch = Stopwatch::start();
    assert_eq!(logged(&file, 1), ["127.0.0.2 127.0.0.1 GET / HTTP/1.1"]);
    stopwatch.is_below(Duration::from_millis(1500));
    assert_eq!(pen.control("log"), format!("{file}\n"));
    // As C pen cuts and cleans, and control characters too.
    request(&pen, 3, "N".repeat(100));
    request(&pen, 3, "O".repeat(101));
    request(&pen, 3, "\r\nempty");
    request(&pen, 3, "a\rb\n");
    request(&pen, 3, b"\xc3\xa9\x00\x1b[m\t|\n");
    assert_eq!(
        logged(&file, 6)[1..],
        [
            format!("127.0.0.3 127.0.0.1 {}", "N".repeat(100)),
            format!("127.0.0.3 127.0.0.1 {}", "O".repeat(100)),
            "127.0.0.3 127.0.0.1 ".into(),
            "127.0.0.3 127.0.0.1 a".into(),
            "127.0.0.3 127.0.0.1 ....[m.|".into(),
        ]
    );
}

#[test]
fn a_line_a_read_without_http_and_a_line_a_request_with_it() {
    for (options, expected) in
        [("", &["GET /1 HTTP/1.1"][..]), ("-H", &["GET /1 HTTP/1.1", "GET /2 HTTP/1.1", "GET /3 HTTP/1.1"])]
    {
        let recorder = Backend::recorder("ok");
        let setup = Setup::new();
        let file = setup.file("log");
        let pen = setup.options(format!("-l {file} {options}")).server(recorder.address()).start();
        request(&pen, 2, "GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\nGET /3 HTTP/1.1\r\n\r\n");
        let expected: Vec<String> = expected.iter().map(|e| format!("127.0.0.2 127.0.0.1 {e}")).collect();
        assert_eq!(logged(&file, expected.len()), expected, "{options}");
    }
}

#[test]
fn a_request_that_comes_in_pieces_is_one_line_with_http() {
    let backend = Backend::http("W");
    let setup = Setup::new();
    let file = setup.file("log");
    let pen = setup.options(format!("-l {file} -H")).server(backend.address()).start();
    let mut client = pen.client_from(2);
    client.send("GET /split HT");
    wait_until("the connection", || backend.accepted() == 1);
    client.send("TP/1.1\r\nHost: x\r\n");
    client.send("\r\n");
    assert!(client.line().starts_with("HTTP/1.1 200"));
    assert_eq!(logged(&file, 1), ["127.0.0.2 127.0.0.1 GET /split HTTP/1.1"]);
}

#[test]
fn nothing_is_logged_of_a_request_that_no_server_gets() {
    let recorder = Backend::recorder("ok");
    let setup = Setup::new();
    let file = setup.file("log");
    let pen = setup.options(format!("-l {file}")).server(recorder.address()).start();
    pen.control("server 0 blacklist 100");
    let mut client = pen.client_from(2);
    _ = std::io::Write::write_all(&mut client.0, b"GET /lost\r\n");
    client.end();
    pen.control("server 0 blacklist 0");
    request(&pen, 2, "GET /kept\r\n");
    assert_eq!(logged(&file, 1), ["127.0.0.2 127.0.0.1 GET /kept"]);
}

#[test]
fn the_log_is_reopened_on_hup_and_moved_by_command() {
    let recorder = Backend::recorder("ok");
    let setup = Setup::new();
    let file = setup.file("log");
    let pen = setup.options(format!("-l {file}")).server(recorder.address()).start();
    request(&pen, 2, "one\n");
    assert_eq!(logged(&file, 1).len(), 1);
    let old = pen.file("log.old");
    fs::rename(&file, &old).unwrap();
    pen.signal(Signal::SIGHUP);
    wait_until("the new file", || Path::new(&file).exists());
    request(&pen, 2, "two\n");
    assert_eq!(logged(&file, 1), ["127.0.0.2 127.0.0.1 two"]);
    assert_eq!(logged(&old, 1), ["127.0.0.2 127.0.0.1 one"]);
    let other = pen.file("other");
    assert_eq!(pen.control(&format!("log {other}")), format!("{other}\n"));
    request(&pen, 2, "three\n");
    assert_eq!(logged(&other, 1), ["127.0.0.2 127.0.0.1 three"]);
    assert_eq!(pen.control("no log"), "");
    request(&pen, 2, "four\n");
    assert_eq!(pen.control("log"), "");
    assert_eq!((lines(&file).len(), lines(&other).len()), (1, 1));
    // A file that was there is added to.
    pen.control(&format!("log {file}"));
    request(&pen, 2, "five\n");
    assert_eq!(logged(&file, 2), ["127.0.0.2 127.0.0.1 two", "127.0.0.2 127.0.0.1 five"]);
}

#[test]
fn the_end_leaves_every_line_in_the_file() {
    let recorder = Backend::recorder("ok");
    let setup = Setup::new();
    let file = setup.file("log");
    let mut pen = setup.options(format!("-l {file}")).server(recorder.address()).start();
    (0..200).for_each(|n| request(&pen, 2, format!("request {n}\n")));
    pen.terminate();
    assert_eq!(lines(&file).len(), 200);
}

#[test]
fn a_full_disk_is_survived_and_reported_once() {
    if !Path::new("/dev/full").exists() {
        return skipped("full disk", "no /dev/full");
    }
    let recorder = Backend::recorder("ok");
    let pen = Setup::new().options("-l /dev/full").server(recorder.address()).start();
    (0..50).for_each(|n| request(&pen, 2, format!("request {n}\n")));
    pen.says("/dev/full");
    (0..50).for_each(|n| request(&pen, 2, format!("request {n}\n")));
    assert_eq!(pen.control("log"), "/dev/full\n");
    assert_eq!(pen.stderr().matches("No space left").count(), 1, "{}", pen.stderr());
    // Another log works at once.
    let file = pen.file("log");
    pen.control(&format!("log {file}"));
    request(&pen, 2, "after\n");
    assert_eq!(logged(&file, 1), ["127.0.0.2 127.0.0.1 after"]);
}

/// The lines that the end finds unwritten are counted in a message.
#[test]
fn what_a_full_disk_does_not_take_at_the_end_is_counted() {
    if !Path::new("/dev/full").exists() {
        return skipped("full disk", "no /dev/full");
    }
    let recorder = Backend::recorder("ok");
    let mut pen = Setup::new().options("-l /dev/full").server(recorder.address()).start();
    (0..23).for_each(|n| request(&pen, 2, format!("request {n}\n")));
    pen.says("/dev/full");
    pen.terminate();
    let said = pen.stderr();
    assert!(
        said.contains("log: 23 lines lost: cannot write log /dev/full: No space left on device"),
        "{said}"
    );
}

/// A disk that fills up keeps whole lines, and each line is either there or counted.
#[test]
fn a_disk_that_fills_up_keeps_whole_lines_and_counts_the_rest() {
    if !namespace::inside_with_mounts(
        "it::reqlog::a_disk_that_fills_up_keeps_whole_lines_and_counts_the_rest",
    ) {
        return;
    }
    let setup = Setup::new();
    let disk = setup.path().join("disk");
    fs::create_dir(&disk).unwrap();
    namespace::run(&format!("mount -t tmpfs -o size=16k tmpfs {}", disk.display()));
    let file = disk.join("log").display().to_string();
    let recorder = Backend::recorder("ok");
    let mut pen = setup.options(format!("-l {file}")).server(recorder.address()).start();
    (0..400).for_each(|n| request(&pen, 2, format!("{n:0100}\n")));
    pen.terminate();
    let (said, log) = (pen.stderr(), fs::read_to_string(&file).unwrap());
    let whole = log.matches('\n').count();
    let lost: usize = said
        .lines()
        .filter_map(|line| {
            line.split_once("log: ")?.1.split_once(" lost: ")?.0.split(' ').next()?.parse::<usize>().ok()
        })
        .sum();
    assert!(whole > 50 && said.contains("No space left"), "{whole}: {said}");
    assert_eq!(whole + lost, 400, "{said}");
}

#[test]
fn clients_and_servers_of_every_kind_are_named() {
    let dir = crate::support::directory::directory();
    let socket = dir.path().join("server");
    let server = Backend::greeter_at_path(&socket, "U");
    let setup = Setup::new();
    let file = setup.file("log");
    let pen = setup.options(format!("-l {file} -r")).listen(":::%").server(socket.display()).start();
    let port = pen.address.port();
    for (source, to) in [("127.0.0.6", "127.0.0.1"), ("::1", "[::1]")] {
        let mut client = Client::from(source, format!("{to}:{port}").parse().unwrap());
        assert_eq!(client.line(), "U");
        client.send("hello\n");
        client.finish();
        client.end();
    }
    let server_name = socket.display();
    assert_eq!(
        logged(&file, 2),
        [format!("127.0.0.6 {server_name} hello"), format!("::1 {server_name} hello")]
    );
    drop((pen, server));
    let recorder = Backend::recorder("ok");
    let setup = Setup::new();
    let (file, listen) = (setup.file("log"), setup.file("listen"));
    let pen = setup.options(format!("-l {file}")).listen(&listen).server(recorder.address()).start();
    let mut client = Client::to_path(listen.as_ref());
    client.send("hello\n");
    client.finish();
    client.end();
    // No address is an empty word, as in C pen.
    assert_eq!(logged(&file, 1), [" 127.0.0.1 hello"]);
    drop(pen);
}

#[test]
fn a_penlogd_gets_a_datagram_a_request() {
    // Pen still sends there when it is gone: no other test may have the port then.
    let ip = Ipv4Addr::LOCALHOST;
    let penlogd = UdpSocket::bind((ip, reserve_datagrams(ip.into()))).unwrap();
    penlogd.set_read_timeout(Some(DEADLINE)).unwrap();
    let target = penlogd.local_addr().unwrap();
    let recorder = Backend::recorder("ok");
    let pen = Setup::new().options(format!("-l {target}")).server(recorder.address()).start();
    let next = || {
        let mut buffer = [0; 4096];
        let length = penlogd.recv(&mut buffer).expect("a datagram");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    request(&pen, 2, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(next(), "+ 127.0.0.2 127.0.0.1 GET / HTTP/1.1\n");
    request(&pen, 2, "L".repeat(2000));
    let datagram = next();
    assert_eq!((datagram.len(), datagram.ends_with("L\n")), (1024, true));
    assert_eq!(pen.control("log"), format!("{target}\n"));
    // Nobody there: pen goes on.
    drop(penlogd);
    (0..20).for_each(|_| request(&pen, 2, "x\n"));
}

#[test]
fn bulk_with_a_log_arrives_whole() {
    let echo = Backend::echo();
    let setup = Setup::new();
    let file = setup.file("log");
    let pen = setup.options(format!("-l {file}")).server(echo.address()).start();
    let sent: Vec<u8> = (0..4_000_000_u32).flat_map(|n| n.to_le_bytes()).collect();
    pen.client_from(2).is_echoed(&sent);
    // A line for each read of at most 32 KiB.
    let least = sent.len() / 32768;
    let count = wait_for("the lines", || {
        let text = fs::read(&file).ok()?;
        let lines = text.iter().filter(|b| **b == b'\n').count();
        (lines >= least).then_some(lines)
    });
    assert!(count >= least);
}
