//! penlog: lines from a pipe to penlogd.

use std::io::Write as _;
use std::net::{Ipv4Addr, UdpSocket};
use std::process::Stdio;

use nix::sys::signal::Signal;

use crate::support::port::reserve_datagrams;
use crate::support::tree::tool;
use crate::support::weblog::{PENLOG, Penlog, Penlogd, run, web_line};
use crate::support::{process, skipped, wait_until};

#[test]
fn sends_a_datagram_a_line_and_ends_with_its_input() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(crate::support::wait::DEADLINE)).unwrap();
    let port = socket.local_addr().unwrap().port().to_string();
    let mut penlog = Penlog::start(&["localhost", &port, "127.0.0.7"], None);
    penlog.write(format!("one\n\n{}\n{}\nno newline", "a".repeat(1023), "b".repeat(4000)));
    let mut buffer = [0; 8192];
    let mut receive = || {
        let (n, from) = socket.recv_from(&mut buffer).unwrap();
        assert_eq!(from.ip(), Ipv4Addr::new(127, 0, 0, 7));
        String::from_utf8(buffer[..n].to_vec()).unwrap()
    };
    assert_eq!(receive(), "one\n");
    assert_eq!(receive(), "a".repeat(1023) + "\n");
    let cut = receive();
    assert_eq!((cut.len(), &cut[1018..]), (1023, "b...\n"));
    let (status, said) = penlog.end();
    assert!(status.success() && said.is_empty(), "{said}");
    assert_eq!(receive(), "no newline\n");
}

#[test]
fn sends_over_ipv6_too() {
    let Ok(socket) = UdpSocket::bind("[::1]:0") else { return skipped("penlog over IPv6", "no IPv6 here") };
    socket.set_read_timeout(Some(crate::support::wait::DEADLINE)).unwrap();
    let port = socket.local_addr().unwrap().port().to_string();
    let mut penlog = Penlog::start(&["::1", &port, "::1"], None);
    penlog.write("one\n");
    let mut buffer = [0; 16];
    let n = socket.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..n], b"one\n");
    assert!(penlog.end().0.success());
}

#[test]
fn outlives_penlogd_and_counts_what_was_lost() {
    let (host, port) = ("127.0.0.1", reserve_datagrams(Ipv4Addr::LOCALHOST.into()).to_string());
    let first = Penlogd::start(&format!("{host}:{port}"), &["-w", "0"]);
    let mut penlog = Penlog::start(&[host, &port], None);
    penlog.write(web_line("GET /1") + "\n");
    first.lines(1);
    let directory = first.terminate();
    wait_until("the first complaint", || {
        penlog.write("nobody listens\n");
        penlog.stderr().contains("cannot send log to 127.0.0.1:")
    });
    let again = Penlogd::start_in(directory, &format!("{host}:{port}"), &["-w", "0"]);
    penlog.write(web_line("GET /2") + "\n");
    wait_until("a line after the restart", || again.log().contains("GET /2"));
    let (status, said) = penlog.end();
    assert!(status.success());
    assert!(said.contains(" lost: cannot send log to 127.0.0.1:"), "{said}");
}

/// Lines that are in the pipe when a signal comes: no more than a socket holds for a reader that is late.
const IN_PIPE: usize = 150;

/// What `ending` leaves in penlog's pipe, and its last line, which has no newline, is sent all the same.
fn drains_its_pipe(ending: Signal) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(crate::support::wait::DEADLINE)).unwrap();
    let port = socket.local_addr().unwrap().port().to_string();
    let receiver = std::thread::spawn(move || {
        let (mut buffer, mut lines) = ([0; 2048], Vec::new());
        while lines.last().is_none_or(|last: &String| last != "the end\n") {
            let n = socket.recv(&mut buffer).unwrap();
            lines.push(String::from_utf8_lossy(&buffer[..n]).into_owned());
        }
        lines
    });
    let mut penlog = Penlog::start(&["127.0.0.1", &port], None);
    penlog.write("first\n");
    penlog.wait_until_it_handles_signals();
    penlog.signal(Signal::SIGSTOP);
    let line = |n: usize| format!("{n} {}\n", "x".repeat(100));
    penlog.write((0..IN_PIPE).map(line).collect::<String>() + "the end");
    penlog.signal(ending);
    penlog.signal(Signal::SIGCONT);
    let (status, said) = penlog.wait();
    assert!(status.success() && said.is_empty(), "{ending}: {status} {said}");
    let lines = receiver.join().unwrap();
    let wanted: Vec<String> = (0..IN_PIPE).map(line).collect();
    assert!(lines[0] == "first\n" && lines[1..=IN_PIPE] == wanted, "{ending}: {} lines", lines.len());
}

#[test]
fn what_is_in_the_pipe_is_sent_when_a_signal_ends_it() {
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP].into_iter().for_each(drains_its_pipe);
}

/// A web server that goes on writing does not keep it alive.
#[test]
fn a_signal_ends_it_although_more_is_coming() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port().to_string();
    let directory = crate::support::directory::directory();
    let fifo = directory.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let penlog = Penlog::start(&["127.0.0.1", &port], Some(&fifo));
    let mut writer = std::fs::File::options().write(true).open(&fifo).unwrap();
    writer.write_all(b"first\n").unwrap();
    penlog.wait_until_it_handles_signals();
    let ended = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let custom = nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK);
            nix::fcntl::fcntl(&writer, custom).unwrap();
            while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                // A full pipe takes more later.
                _ = (&writer).write(b"more\n");
            }
        });
        penlog.signal(Signal::SIGTERM);
        let (status, _) = penlog.wait();
        ended.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(status.success(), "{status}");
    });
}

#[test]
fn nuls_before_a_line_swallow_nothing() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(crate::support::wait::DEADLINE)).unwrap();
    let port = socket.local_addr().unwrap().port().to_string();
    let mut penlog = Penlog::start(&["127.0.0.1", &port], None);
    penlog.write([&vec![0; 2 << 20][..], b"one\n"].concat());
    let mut buffer = [0; 2048];
    let n = socket.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..n], b"one\n");
    assert!(penlog.end().0.success());
}

#[test]
fn blocked_signals_are_heard() {
    let Some(mut env) = tool("env").filter(|_| cfg!(target_os = "linux")) else { return };
    let mut child =
        env.args(["--block-signal", PENLOG, "127.0.0.1", "9"]).stdin(Stdio::piped()).spawn().unwrap();
    let pid = i32::try_from(child.id()).unwrap();
    // SIGTERM is 15: the bit of a signal that is caught.
    let catches = |mask: String| u64::from_str_radix(&mask, 16).is_ok_and(|mask| mask & 1 << 14 != 0);
    wait_until("its handlers", || process::status(pid, "SigCgt").is_some_and(catches));
    process::signal(pid, Signal::SIGTERM);
    assert!(child.wait().unwrap().success());
}

#[test]
fn what_cannot_be_is_one_clear_line() {
    for args in [&[][..], &["host"], &["host", "port"], &["host", "1", "name"]] {
        let output = run(PENLOG, args);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(said.starts_with("penlog: ") && said.lines().count() == 1, "{said}");
    }
}
