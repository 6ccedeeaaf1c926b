//! The writer with real files and sockets.

use super::*;
use std::net::UdpSocket;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

const PATIENCE: Duration = Duration::from_secs(20);

fn start(options: Options) -> (LogHandle, Receiver<String>) {
    let (tell, told) = channel();
    let report = Box::new(move |text: &str| {
        let _ = tell.send(text.to_owned());
    });
    (LogHandle::start(options, report).unwrap(), told)
}

fn entry(request: &[u8]) -> Entry<'_> {
    Entry { client: "192.0.2.1".parse().ok(), epoch: 5, server: "10.0.0.1", request }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn entries_go_to_the_file_soon_and_without_a_flush() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let (log, _) = start(Options::default());
    assert!(!log.is_on());
    log.entry(&entry(b"dropped"));
    log.set(Some(Target::File(path.clone()))).unwrap();
    assert!(log.is_on());
    let begun = Instant::now();
    log.entry(&entry(b"GET / HTTP/1.0\r\n\r\n"));
    while read(&path).is_empty() {
        assert!(begun.elapsed() < PATIENCE);
        thread::yield_now();
    }
    assert_eq!(read(&path), "192.0.2.1 5 10.0.0.1 GET / HTTP/1.0\n");
}

#[test]
fn rotation_and_a_change_of_target_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let name = |n: &str| dir.path().join(n);
    let (log, told) = start(Options::default());
    log.set(Some(Target::File(name("a")))).unwrap();
    log.line(b"one\n");
    assert!(log.flush(PATIENCE));
    std::fs::rename(name("a"), name("a.0")).unwrap();
    log.line(b"two\n");
    log.reopen();
    log.line(b"three\n");
    log.set(Some(Target::File(name("b")))).unwrap();
    log.line(b"four\n");
    assert!(log.set(Some(Target::File(name("no/such")))).is_err());
    log.line(b"five\n");
    log.set(None).unwrap();
    assert!(!log.is_on());
    assert!(log.flush(PATIENCE));
    let texts = ["a.0", "a", "b"].map(|n| read(&name(n)));
    assert_eq!(texts, ["one\ntwo\n", "three\n", "four\nfive\n"]);
    drop(log);
    assert_eq!(told.recv(), Err(std::sync::mpsc::RecvError));
}

#[test]
fn a_failed_reopen_keeps_the_old_file() {
    let dir = tempfile::tempdir().unwrap();
    let (sub, moved) = (dir.path().join("sub"), dir.path().join("moved"));
    std::fs::create_dir(&sub).unwrap();
    let (log, told) = start(Options::default());
    log.set(Some(Target::File(sub.join("a")))).unwrap();
    std::fs::rename(&sub, &moved).unwrap();
    log.reopen();
    log.line(b"still\n");
    assert!(log.flush(PATIENCE));
    assert_eq!(read(&moved.join("a")), "still\n");
    assert!(told.recv().unwrap().starts_with("cannot reopen log "));
}

#[test]
fn a_full_disk_is_reported_once_and_what_does_not_fit_is_counted() {
    if !Path::new("/dev/full").exists() {
        return;
    }
    let (log, told) = start(Options { capacity: 64, linger: Duration::ZERO });
    log.set(Some(Target::File("/dev/full".into()))).unwrap();
    log.line(b"0123456789012345678901234567890123456789012345678901234567890123456\n");
    assert_eq!(told.recv().unwrap(), "cannot write log /dev/full: No space left on device (os error 28)");
    for _ in 0..10 {
        log.line(b"0123456789012345678901234567890123456789012345678901234567890123456\n");
    }
    let dir = tempfile::tempdir().unwrap();
    log.set(Some(Target::File(dir.path().join("a")))).unwrap();
    // The queue is full until the writer has seen the new target.
    assert!(log.flush(PATIENCE));
    log.line(b"after\n");
    assert!(log.flush(PATIENCE));
    assert_eq!(read(&dir.path().join("a")), "after\n");
    // Every line is lost, at whatever stage; the sum is exact.
    drop(log);
    let lost: u64 =
        told.iter().filter_map(|t| t.strip_prefix("log: ")?.split(' ').next()?.parse::<u64>().ok()).sum();
    assert_eq!(lost, 11);
}

#[test]
fn datagrams_go_to_penlogd_and_its_absence_is_survived() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let target = Target::parse(&address.to_string(), &Default::default()).unwrap();
    let (log, told) = start(Options::default());
    log.set(Some(target)).unwrap();
    let mut buffer = [0; 2048];
    log.entry(&entry(b"GET / HTTP/1.0\r\n"));
    let n = socket.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..n], b"+ 192.0.2.1 10.0.0.1 GET / HTTP/1.0\n");
    drop(socket);
    log.entry(&entry(b"GET /lost HTTP/1.0\r\n"));
    log.entry(&entry(b"GET /lost too HTTP/1.0\r\n"));
    assert!(log.flush(PATIENCE));
    assert!(told.recv().unwrap().starts_with("cannot send log to 127.0.0.1:"));
    let socket = UdpSocket::bind(address).unwrap();
    log.entry(&entry(b"GET /again HTTP/1.0\r\n"));
    let n = socket.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..n], b"+ 192.0.2.1 10.0.0.1 GET /again HTTP/1.0\n");
}

#[test]
fn many_threads_write_whole_lines() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let (log, _) = start(Options::default());
    log.set(Some(Target::File(path.clone()))).unwrap();
    thread::scope(|scope| {
        for n in 0..4 {
            let log = log.clone();
            scope.spawn(move || {
                (0..5000).for_each(|_| log.line_waiting(format!("{}\n", n.to_string().repeat(40)).as_bytes()))
            });
        }
    });
    assert!(log.flush(PATIENCE));
    let text = read(&path);
    assert_eq!(text.lines().count(), 20_000);
    assert!(text.lines().all(|line| line.len() == 40 && line.bytes().all(|b| b == line.as_bytes()[0])));
}
