//! The writer with real files and sockets.

use std::fs;
use std::io::Read as _;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use socket2::{Domain, Socket, Type};

use super::*;
use crate::core::log_target::SyslogTransport;
use crate::weblog::LogEntry;

const PATIENCE: Duration = Duration::from_secs(20);

fn start(options: SinkOptions) -> (LogHandle, Receiver<String>) {
    let (tell, told) = channel();
    let report = Box::new(move |text: &str| {
        let _ = tell.send(text.to_owned());
    });
    (LogHandle::start(options, report).unwrap(), told)
}

fn entry(request: &[u8]) -> LogEntry<'_> {
    LogEntry { client: "192.0.2.1".parse().ok(), epoch: 5, server: "10.0.0.1", request }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn entries_go_to_the_file_soon_and_without_a_flush() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let (log, _) = start(SinkOptions::default());
    assert!(!log.is_on());
    log.entry(&entry(b"dropped"));
    log.set(Some(SinkTarget::File(path.clone()))).unwrap();
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
    let (log, told) = start(SinkOptions::default());
    log.set(Some(SinkTarget::File(name("a")))).unwrap();
    log.line(b"one\n");
    assert!(log.flush(PATIENCE));
    std::fs::rename(name("a"), name("a.0")).unwrap();
    log.line(b"two\n");
    log.reopen();
    log.line(b"three\n");
    log.set(Some(SinkTarget::File(name("b")))).unwrap();
    log.line(b"four\n");
    assert!(log.set(Some(SinkTarget::File(name("no/such")))).is_err());
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
    let (log, told) = start(SinkOptions::default());
    log.set(Some(SinkTarget::File(sub.join("a")))).unwrap();
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
    let (log, told) = start(SinkOptions { capacity: 64, linger: Duration::ZERO });
    log.set(Some(SinkTarget::File("/dev/full".into()))).unwrap();
    log.line(b"0123456789012345678901234567890123456789012345678901234567890123456\n");
    assert_eq!(told.recv().unwrap(), "cannot write log /dev/full: No space left on device");
    for _ in 0..10 {
        log.line(b"0123456789012345678901234567890123456789012345678901234567890123456\n");
    }
    let dir = tempfile::tempdir().unwrap();
    log.set(Some(SinkTarget::File(dir.path().join("a")))).unwrap();
    // The queue is full until the writer has taken over the new target.
    assert!(log.flush(PATIENCE));
    log.line(b"after\n");
    assert!(log.flush(PATIENCE));
    assert_eq!(read(&dir.path().join("a")), "after\n");
    // Every line is lost, at one stage or another; the sum is exact.
    drop(log);
    let lost: u64 =
        told.iter().filter_map(|t| t.strip_prefix("log: ")?.split(' ').next()?.parse::<u64>().ok()).sum();
    assert_eq!(lost, 11);
}

/// A socket on a port that can be given up for a while: systems give none of those below 32768 to sockets without one.
pub(super) fn lasting_udp_socket() -> UdpSocket {
    // The processes of tests begin in different places.
    let first = (std::process::id() % 4_000) as u16;
    let mut ports = (first..4_000).chain(0..first).map(|port| 28_000 + port);
    ports.find_map(|port| UdpSocket::bind(("127.0.0.1", port)).ok()).expect("a free port")
}

/// A TCP socket that does not listen: connections to its address are refused, and nobody else gets it.
fn tcp_socket() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

#[test]
fn datagrams_go_to_penlogd_and_its_absence_is_survived() {
    let socket = lasting_udp_socket();
    let address = socket.local_addr().unwrap();
    let target = SinkTarget::Udp { host: address.ip().to_string(), port: address.port(), source: None };
    let (log, told) = start(SinkOptions::default());
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
    let (log, _) = start(SinkOptions::default());
    log.set(Some(SinkTarget::File(path.clone()))).unwrap();
    thread::scope(|scope| {
        for n in 0..4 {
            let log = log.clone();
            scope.spawn(move || {
                (0..5000).for_each(|_| {
                    log.line_waiting(format!("{}\n", n.to_string().repeat(40)).as_bytes(), None)
                })
            });
        }
    });
    assert!(log.flush(PATIENCE));
    let text = read(&path);
    assert_eq!(text.lines().count(), 20_000);
    assert!(text.lines().all(|line| line.len() == 40 && line.bytes().all(|b| b == line.as_bytes()[0])));
}

/// The number of lines that a log's reports count as lost.
fn lost(told: &Receiver<String>) -> u64 {
    let count = |text: String| text.strip_prefix("log: ")?.split(' ').next()?.parse::<u64>().ok();
    told.iter().filter_map(count).sum()
}

#[test]
fn what_a_full_disk_does_not_take_at_the_end_is_counted() {
    if !Path::new("/dev/full").exists() {
        return;
    }
    let (log, told) = start(SinkOptions::default());
    log.set(Some(SinkTarget::File("/dev/full".into()))).unwrap();
    (0..7).for_each(|_| log.line(b"a line\n"));
    assert_eq!(log.close(Duration::ZERO), Ok(()));
    assert!(!log.is_on());
    assert_eq!(told.recv().unwrap(), "cannot write log /dev/full: No space left on device");
    assert_eq!(
        told.recv().unwrap(),
        "log: 7 lines lost: cannot write log /dev/full: No space left on device"
    );
}

#[test]
fn what_a_full_pipe_does_not_take_at_the_end_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fifo");
    mkfifo(&path, Mode::S_IRWXU).unwrap();
    // A reader that does not read.
    let _reader = fs::File::options().read(true).write(true).open(&path).unwrap();
    let (log, told) = start(SinkOptions::default());
    log.set(Some(SinkTarget::File(path))).unwrap();
    let line = [&[b'x'; 999][..], b"\n"].concat();
    (0..1000).for_each(|_| log.line(&line));
    assert_eq!(log.close(Duration::ZERO), Ok(()));
    drop(log);
    let lost = lost(&told);
    // The capacity of a pipe depends on the system.
    assert!((500..1000).contains(&lost), "{lost}");
}

#[test]
fn a_closed_log_has_everything_that_was_logged() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let (log, told) = start(SinkOptions { linger: PATIENCE * 10, ..SinkOptions::default() });
    log.set(Some(SinkTarget::File(path.clone()))).unwrap();
    (0..1000).for_each(|n| log.line(format!("{n}\n").as_bytes()));
    assert_eq!(log.close(PATIENCE), Ok(()));
    assert_eq!(read(&path).lines().count(), 1000);
    drop(log);
    assert_eq!(lost(&told), 0);
}

/// Closes the log, which must not take its whole time, and returns what it told.
fn closed_early(log: LogHandle, told: &Receiver<String>) -> Vec<String> {
    let begun = Instant::now();
    assert_eq!(log.close(PATIENCE), Ok(()));
    assert!(begun.elapsed() < PATIENCE / 2, "{:?}", begun.elapsed());
    drop(log);
    told.iter().collect()
}

#[test]
fn a_target_that_has_failed_is_not_waited_for() {
    let (_socket, closed) = tcp_socket();
    let server = SinkTarget::SyslogServer {
        transport: SyslogTransport::Tcp,
        host: closed.ip().to_string(),
        port: closed.port(),
    };
    let full = SinkTarget::File("/dev/full".into());
    let targets = [(server, "cannot send log to "), (full, "cannot write log ")];
    let targets = targets.into_iter().filter(|(target, _)| match target {
        SinkTarget::File(path) => path.exists(),
        _ => true,
    });
    for (target, failure) in targets {
        // Whether the failure is known before the end or not.
        for is_known in [true, false] {
            let (log, told) = start(SinkOptions::default());
            log.set(Some(target.clone())).unwrap();
            (0..3).for_each(|_| log.line(b"a line\n"));
            let mut said = Vec::from_iter(is_known.then(|| told.recv().unwrap()));
            said.extend(closed_early(log, &told));
            assert_eq!(said.len(), 2, "{said:?}");
            assert!(said[0].starts_with(failure), "{said:?}");
            assert_eq!(said[1], format!("log: 3 lines lost: {}", said[0]));
        }
    }
}

#[test]
fn a_pipe_that_nobody_reads_any_more_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fifo");
    mkfifo(&path, Mode::S_IRWXU).unwrap();
    let reader = fs::File::options().read(true).write(true).open(&path).unwrap();
    let (log, told) = start(SinkOptions::default());
    log.set(Some(SinkTarget::File(path.clone()))).unwrap();
    let line = [&[b'x'; 999][..], b"\n"].concat();
    (0..1000).for_each(|_| log.line(&line));
    let said = closed_early(log, &told);
    let why = format!(" lost: {} took nothing for 1 second", path.display());
    assert!(said.len() == 1 && said[0].ends_with(&why), "{said:?}");
    drop(reader);
}

/// One that takes its time gets it.
#[test]
fn a_slow_reader_gets_every_line_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fifo");
    mkfifo(&path, Mode::S_IRWXU).unwrap();
    let mut reader = fs::File::options().read(true).write(true).open(&path).unwrap();
    let (log, told) = start(SinkOptions::default());
    log.set(Some(SinkTarget::File(path))).unwrap();
    let line = [&[b'x'; 999][..], b"\n"].concat();
    (0..1000).for_each(|_| log.line(&line));
    let (mut left, mut buffer) = (1_000_000, vec![0; 1 << 16]);
    let reading = thread::spawn(move || {
        while left > 0 {
            left -= reader.read(&mut buffer).unwrap();
        }
    });
    assert_eq!(log.close(PATIENCE), Ok(()));
    drop(log);
    assert_eq!(told.iter().collect::<Vec<_>>(), Vec::<String>::new());
    reading.join().unwrap();
}

/// A log server that was away, and is there again when the log ends.
#[test]
fn the_last_attempt_is_made_at_once() {
    let (socket, address) = tcp_socket();
    let (log, told) = start(SinkOptions::default());
    let target = SinkTarget::SyslogServer {
        transport: SyslogTransport::Tcp,
        host: address.ip().to_string(),
        port: address.port(),
    };
    log.set(Some(target)).unwrap();
    log.line(b"a line\n");
    assert!(told.recv().unwrap().starts_with("cannot send log to "));
    socket.listen(1).unwrap();
    assert_eq!(log.close(PATIENCE), Ok(()));
    drop(log);
    let mut text = String::new();
    socket.accept().unwrap().0.read_to_string(&mut text).unwrap();
    assert!(text.ends_with(" a line"), "{text}");
    assert!(told.iter().all(|said| !said.contains("lost")));
}
