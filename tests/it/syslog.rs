//! Logs to syslog: to log servers, under another name and facility; and what stands before a line on standard error.

use std::fs;
use std::io::Read as _;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::backend::greeters;
use crate::support::pen::{free_port, program};
use crate::support::wait::DEADLINE;
use crate::support::{Pen, Setup, wait_for, wait_until};

/// A client that comes and goes.
fn visit(pen: &Pen, n: u8) {
    let (client, name) = pen.hold(n);
    assert_eq!(name, "A");
    drop(client);
}

/// The parts of a message by RFC 5424 that this pen has sent: the priority, the name and the text.
#[track_caller]
fn parts(pen: &Pen, message: &str) -> (String, String, String) {
    let words: Vec<&str> = message.splitn(8, ' ').collect();
    let [head, time, host, name, pid, _, "-", text] = words[..] else { panic!("{message}") };
    assert!(!host.is_empty() && time.ends_with('Z') && time.parse::<jiff::Timestamp>().is_ok(), "{message}");
    assert_eq!(pid, pen.pid().to_string());
    let priority = head.strip_prefix('<').and_then(|head| head.strip_suffix(">1")).unwrap();
    (priority.into(), name.into(), text.into())
}

#[test]
fn a_log_server_gets_a_datagram_a_connection() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(Some(DEADLINE)).unwrap();
    let target = format!("syslog://{}", server.local_addr().unwrap());
    let backends = greeters(1);
    let next = || {
        let mut buffer = [0; 4096];
        let count = server.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..count].to_vec()).unwrap()
    };
    let pen = Setup::new().command(format!("connection_log {target}")).servers(&backends).start();
    assert_eq!(pen.control("connection_log"), format!("{target}\n"));
    visit(&pen, 2);
    let (priority, name, text) = parts(&pen, &next());
    // user is 1, information 6.
    assert_eq!((priority.as_str(), name.as_str()), ("14", "pen"));
    assert!(text.starts_with("start=") && text.ends_with(" end=client-closed"), "{text}");
    let setup = Setup::new().command("log_facility local3").command("log_ident edge");
    let setup = setup.command(format!("connection_log {target}")).command("connection_log_format json");
    let pen = setup.servers(&backends).start();
    visit(&pen, 3);
    let (priority, name, text) = parts(&pen, &next());
    assert_eq!((priority.as_str(), name.as_str()), ("158", "edge"));
    assert!(text.starts_with("{\"start\":") && text.contains("\"client_address\":\"127.0.0.3\""), "{text}");
}

/// The next message of a connection, which follows its length.
fn framed(stream: &mut TcpStream) -> String {
    let mut length = String::new();
    let mut byte = [0];
    loop {
        stream.read_exact(&mut byte).unwrap();
        match byte[0] {
            b' ' => break,
            digit => length.push(char::from(digit)),
        }
    }
    let mut message = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut message).unwrap();
    String::from_utf8(message).unwrap()
}

fn accepted(listener: &TcpListener) -> TcpStream {
    let stream = listener.accept().unwrap().0;
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

#[test]
fn over_tcp_lines_wait_for_a_log_server_that_is_away() {
    let port = free_port();
    let address = ("127.0.0.1", port);
    let backends = greeters(1);
    let setup = Setup::new().command(format!("connection_log syslog+tcp://127.0.0.1:{port}"));
    let pen = setup.servers(&backends).start();
    visit(&pen, 2);
    pen.says(&format!("connection_log: cannot send log to syslog+tcp://127.0.0.1:{port}: "));
    let listener = TcpListener::bind(address).unwrap();
    let mut stream = accepted(&listener);
    let client_of = |message: String| {
        let (_, _, text) = parts(&pen, &message);
        text.split(" client_address=").nth(1).unwrap().split(' ').next().unwrap().to_owned()
    };
    assert_eq!(client_of(framed(&mut stream)), "127.0.0.2");
    pen.says("works again");
    visit(&pen, 3);
    assert_eq!(client_of(framed(&mut stream)), "127.0.0.3");
    drop(stream);
    visit(&pen, 4);
    // The one that follows the end of a connection is not lost with it.
    assert_eq!(client_of(framed(&mut accepted(&listener))), "127.0.0.4");
}

#[test]
fn what_is_no_log_server_is_refused() {
    let backends = greeters(1);
    let pen = Setup::new().servers(&backends).start();
    for bad in ["syslog://", "syslog://host:0", "syslog+tls://host"] {
        let reply = pen.control(&format!("connection_log {bad}"));
        assert!(reply.starts_with("error: connection_log: expected the name of a file, syslog"), "{reply}");
    }
    assert_eq!(pen.control("connection_log"), "");
    assert!(pen.control("log_facility local1").contains("restart"));
}

/// What a pen in the foreground says on a standard error of that kind, from its start to its end.
fn said(stderr: Stdio, journal: Option<String>, read: impl FnOnce(std::process::Child) -> String) -> String {
    let mut command = Command::new(program());
    command.args(["-f", "-O", "server 0 address 127.0.0.1 port 9", &format!("127.0.0.1:{}", free_port())]);
    command.env_remove("JOURNAL_STREAM").stderr(stderr);
    if let Some(journal) = journal {
        command.env("JOURNAL_STREAM", journal);
    }
    read(command.spawn().unwrap())
}

/// Whether a line begins with a date and time.
fn is_stamped(line: &str) -> bool {
    line.get(..21).is_some_and(|start| start.ends_with(": ") && start.as_bytes()[4] == b'-')
}

#[test]
fn a_line_on_standard_error_has_the_time_that_nobody_else_adds() {
    let terminate = |pid: u32| kill(Pid::from_raw(pid.try_into().unwrap()), Signal::SIGTERM).unwrap();
    let directory = Setup::new();
    let path = directory.file("stderr");
    let to_file = |journal: bool| {
        let file = fs::File::create(&path).unwrap();
        let meta = file.metadata().unwrap();
        let journal = journal.then(|| format!("{}:{}", meta.dev(), meta.ino()));
        said(file.into(), journal, |mut pen| {
            let text = || fs::read_to_string(&path).unwrap();
            wait_until("pen to start", || text().contains(" started: "));
            terminate(pen.id());
            assert!(pen.wait().unwrap().success());
            text()
        })
    };
    let lines = to_file(false);
    assert!(lines.lines().count() >= 3 && lines.lines().all(is_stamped), "{lines}");
    let lines = to_file(true);
    assert!(lines.lines().count() >= 3 && lines.lines().all(|line| line.starts_with("<6>pen ")), "{lines}");
    let lines = said(Stdio::piped(), Some("1:1".into()), |mut pen| {
        let mut stderr = pen.stderr.take().unwrap();
        let mut text = String::new();
        wait_for("pen to start", || {
            let mut buffer = [0; 1024];
            let count = stderr.read(&mut buffer).unwrap();
            text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
            text.contains(" started: ").then_some(())
        });
        terminate(pen.id());
        stderr.read_to_string(&mut text).unwrap();
        assert!(pen.wait().unwrap().success());
        text
    });
    assert!(lines.lines().count() >= 3 && lines.lines().all(|line| line.starts_with("pen ")), "{lines}");
}
