//! Penctl's side: sends a line and prints the reply.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use socket2::SockRef;

use crate::core::addr::{Endpoint, Host, Services};
use crate::core::command::Command;
use crate::core::error::SystemReason;
use crate::sys::resolve;

use super::protocol;

/// How long pen may take to accept a connection or to send more of its reply.
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
            _ = writeln!(io::stderr(), "penctl: {target}: {}", SystemReason(&error));
            ExitCode::FAILURE
        }
    }
}

/// The whole reply to a command that shows something.
///
/// # Errors
/// Pen cannot be reached, or refuses the command.
pub fn ask(target: &Endpoint, line: &str) -> io::Result<String> {
    let mut stream = connect(target, PATIENCE)?;
    stream.write_all(protocol::frame(line).as_bytes())?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    if protocol::is_refusal(&reply) {
        return Err(io::Error::other(reply.trim_end().to_owned()));
    }
    Ok(reply)
}

/// Prints the reply as it comes; false if the command had no effect or the reply cannot be printed.
fn exchange(target: &Endpoint, line: &str) -> io::Result<bool> {
    // The waiting time of the command itself is added.
    let (patience, waits) = match Command::parse(line, &Services::default()) {
        Ok(Some(Command::Wait(.., time))) => (PATIENCE + time, true),
        _ => (PATIENCE, false),
    };
    let question = protocol::question_before(line);
    let pointless =
        question.is_some_and(|q| ask(target, &q).is_ok_and(|reply| protocol::finds_nothing(&reply)));
    // The command is sent all the same, so that the reply is pen's.
    let stream = connect(target, patience)?;
    if waits {
        stream.reset_on_close()?;
    }
    Ok(talk(stream, line)? && !pointless)
}

/// A connection to a control socket.
trait ControlConnection: Read + Write {
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

fn connect(target: &Endpoint, patience: Duration) -> io::Result<Box<dyn ControlConnection>> {
    let addresses = match &target.host {
        Host::Unix(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(patience))?;
            return Ok(Box::new(stream));
        }
        Host::Ip(ip) => vec![*ip],
        Host::Name(name) => resolve::lookup_now(name)?,
    };
    let mut failure = io::ErrorKind::NotFound.into();
    for ip in addresses {
        match TcpStream::connect_timeout(&SocketAddr::new(ip, target.port), PATIENCE) {
            Ok(stream) => {
                stream.set_read_timeout(Some(patience))?;
                return Ok(Box::new(stream));
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn talk(mut stream: impl Read + Write, line: &str) -> io::Result<bool> {
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
        return Ok(false);
    }
    Ok(pass_on(&begin, &mut stream)? && !protocol::did_nothing(line, &text))
}

/// Prints `begin` and the rest of the reply; false if it cannot be printed.
fn pass_on(begin: &[u8], rest: &mut impl Read) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    if out.write_all(begin).is_err() {
        return Ok(false);
    }
    let mut chunk = vec![0; CHUNK];
    loop {
        let got = rest.read(&mut chunk)?;
        if got == 0 {
            return Ok(out.flush().is_ok());
        }
        if out.write_all(chunk.get(..got).unwrap_or_default()).is_err() {
            return Ok(false);
        }
    }
}
