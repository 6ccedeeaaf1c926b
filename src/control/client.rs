//! Penctl's side: sends a line and prints the reply.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use socket2::SockRef;

use crate::core::addr::{Endpoint, Host, Services};
use crate::core::command::Command;
use crate::core::error::{SystemReason, one_line};
use crate::sys::resolve;

use super::output;
use super::protocol;
use super::time_limit::{late, within};

/// How long a connection may take to be made, and pen to send more of its reply.
const PATIENCE: Duration = Duration::from_secs(60);

/// The size of the pieces in which a reply is printed.
const CHUNK: usize = 64 * 1024;

/// How many bytes of a reply suffice to recognize a refusal or a reply without effect.
const PREFIX: u64 = 64;

/// Sends a command, a line without its line feed, to the control socket `target`. A reply goes to standard output and
/// the status is 0, or 1 if the command had no effect; a refusal goes to standard error and the status is 1, as it is
/// when pen cannot be reached.
pub fn run(target: &Endpoint, line: &str) -> ExitCode {
    match exchange(target, line) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let why = one_line(format!("penctl: {target}: {}", SystemReason(&error)));
            _ = writeln!(io::stderr(), "{why}");
            ExitCode::FAILURE
        }
    }
}

/// The whole reply to a command that shows something. The connection may take `patience`, and so may pen to send more of
/// its reply.
///
/// # Errors
/// Pen cannot be reached, does not answer in time, or refuses the command.
pub fn ask(target: &Endpoint, line: &str, patience: Duration) -> io::Result<String> {
    let reply = whole_reply(target, line, patience)?;
    if protocol::is_refusal(&reply) {
        return Err(io::Error::other(reply.trim_end().to_owned()));
    }
    Ok(reply)
}

/// The whole reply to a command, whatever it is.
fn whole_reply(target: &Endpoint, line: &str, patience: Duration) -> io::Result<String> {
    let mut stream = connect(target, patience, patience)?;
    stream.write_all(protocol::frame(line).as_bytes())?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).map_err(|error| explained(error, patience))?;
    Ok(reply)
}

/// What pen has replied to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Replied {
    /// It says, or shows, something.
    Text,
    /// Nothing, as after most changes.
    Nothing,
    /// The command had no effect, or the reply could not be printed.
    WithoutEffect,
}

/// Prints the reply as it comes; false if the command had no effect or the reply cannot be printed.
fn exchange(target: &Endpoint, line: &str) -> io::Result<bool> {
    // The waiting time of the command itself is added.
    let (patience, waits) = match Command::parse(line, &Services::default()) {
        Ok(Some(Command::Wait(.., time))) => (PATIENCE + time, true),
        _ => (PATIENCE, false),
    };
    let question = protocol::question_before(line);
    let pointless = question
        .is_some_and(|q| ask(target, &q, PATIENCE).is_ok_and(|reply| protocol::finds_nothing(&reply)));
    // The command is sent all the same, so that the reply is pen's.
    let stream = connect(target, PATIENCE, patience)?;
    if waits {
        stream.reset_on_close()?;
    }
    let replied = talk(stream, line).map_err(|error| explained(error, patience))?;
    if replied == Replied::Nothing && !protocol::ends_pen(line) {
        lives(target)?;
    }
    Ok(replied != Replied::WithoutEffect && !pointless)
}

/// Asks whether pen is there after an empty reply. One that was killed may have ended the connection before it carried out the
/// command, and not every pen and not every system tells that from an empty reply.
///
/// # Errors
/// Nobody answers.
fn lives(target: &Endpoint) -> io::Result<()> {
    let gone = |why: &dyn fmt::Display| {
        io::Error::other(format!(
            "an empty reply, and no pen after it: the command may have had no effect: {why}"
        ))
    };
    match whole_reply(target, "pid", PATIENCE) {
        Ok(reply) if reply.is_empty() => Err(gone(&"no answer to pid")),
        // Any answer, and be it that this client is not permitted any more.
        Ok(_) => Ok(()),
        Err(error) => Err(gone(&SystemReason(&error))),
    }
}

/// The error of a read. With a time limit of its socket it says only that there was nothing to read.
fn explained(error: io::Error, patience: Duration) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => late(patience),
        io::ErrorKind::ConnectionReset => {
            io::Error::new(error.kind(), "pen has ended the connection before the reply was complete")
        }
        _ => error,
    }
}

/// A connection to a control socket.
trait ControlConnection: Read + Write + Send {
    /// Lets the other side know when this program is ended while it waits for its reply: over TCP the end of a connection does
    /// not tell that nobody reads from it any more.
    ///
    /// # Errors
    /// As setsockopt(3C).
    fn reset_on_close(&self) -> io::Result<()>;
}

impl ControlConnection for UnixStream {
    fn reset_on_close(&self) -> io::Result<()> {
        Ok(())
    }
}

impl ControlConnection for TcpStream {
    fn reset_on_close(&self) -> io::Result<()> {
        SockRef::from(self).set_linger(Some(Duration::ZERO))
    }
}

/// Connects within `limit`, which a path with a full backlog would not have. Each reading may take `patience`.
fn connect(target: &Endpoint, limit: Duration, patience: Duration) -> io::Result<Box<dyn ControlConnection>> {
    let target = target.clone();
    within(limit, move || connect_now(&target, limit, patience))
}

fn connect_now(
    target: &Endpoint,
    limit: Duration,
    patience: Duration,
) -> io::Result<Box<dyn ControlConnection>> {
    let addresses = match &target.host {
        Host::Unix(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(patience))?;
            return Ok(Box::new(stream));
        }
        Host::Ip(ip) => vec![*ip],
        Host::Name(name) => resolve::lookup_now(name)?,
    };
    // One that does not answer leaves time for the others.
    let share = limit / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    let mut failure = io::ErrorKind::NotFound.into();
    for ip in addresses {
        match TcpStream::connect_timeout(&SocketAddr::new(ip, target.port), share) {
            Ok(stream) => {
                stream.set_read_timeout(Some(patience))?;
                return Ok(Box::new(stream));
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn talk(mut stream: impl Read + Write, line: &str) -> io::Result<Replied> {
    stream.write_all(protocol::frame(line).as_bytes())?;
    let mut begin = Vec::new();
    (&mut stream).take(PREFIX).read_to_end(&mut begin)?;
    let text = String::from_utf8_lossy(&begin).into_owned();
    if protocol::is_refusal(&text) {
        stream.read_to_end(&mut begin)?;
        _ = io::stderr().write_all(&begin);
        if let Some(hint) = protocol::hint(line, &text) {
            _ = writeln!(io::stderr(), "penctl: {hint}");
        }
        return Ok(Replied::WithoutEffect);
    }
    let is_printed = pass_on(&begin, &mut stream)?;
    Ok(match is_printed && !protocol::did_nothing(line, &text) {
        true if text.is_empty() => Replied::Nothing,
        true => Replied::Text,
        false => Replied::WithoutEffect,
    })
}

/// Prints `begin` and the rest of the reply; false if it cannot be printed.
fn pass_on(begin: &[u8], rest: &mut impl Read) -> io::Result<bool> {
    let mut chunk = begin.to_vec();
    let mut got = chunk.len();
    chunk.resize(CHUNK, 0);
    loop {
        if output::print(chunk.get(..got).unwrap_or_default()).is_err() {
            return Ok(false);
        }
        got = rest.read(&mut chunk)?;
        if got == 0 {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    /// The control socket of a pen that accepts nobody, and the connections that fill its backlog.
    fn full() -> (tempfile::TempDir, Endpoint, UnixListener, Vec<UnixStream>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control");
        let listener = UnixListener::bind(&path).unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let first = UnixStream::connect(&path).unwrap();
        let target = Endpoint::with_port(path.to_str().unwrap(), &Services::default()).unwrap();
        (directory, target, listener, vec![first])
    }

    #[test]
    fn a_connect_that_nobody_accepts_ends() {
        let (_directory, target, _listener, _first) = full();
        let limit = Duration::from_millis(200);
        let Err(error) = connect(&target, limit, limit) else { panic!("it was accepted") };
        assert_eq!(error.to_string(), "expected an answer within 0.2 s, got none");
    }

    #[test]
    fn an_answer_that_does_not_come_is_told_as_such() {
        let (_directory, target, listener, _first) = full();
        let (_first, _) = listener.accept().unwrap();
        let error = ask(&target, "pid", Duration::from_millis(200)).unwrap_err();
        assert_eq!(error.to_string(), "expected an answer within 0.2 s, got none");
    }
}
