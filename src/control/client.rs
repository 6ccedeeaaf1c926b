//! Penctl's side: sends a line and passes the reply on.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use crate::core::addr::{Endpoint, Host, Services};
use crate::core::command::Command;
use crate::sys::resolve;

use super::protocol;

/// How long pen may take to accept a connection or to send more of its reply.
const PATIENCE: Duration = Duration::from_secs(60);

/// How much of a reply is passed on in one go.
const CHUNK: usize = 64 * 1024;

/// How many bytes tell a refusal, and a reply that nothing was done, from others.
const PREFIX: u64 = 64;

/// Sends a command, a line without its line feed, to the control socket `target`. A reply goes to the standard output
/// and the status is 0, or 1 if the reply means that nothing was done; a refusal goes to the standard error and the status
/// is 1, as it is when pen cannot be reached.
pub fn run(target: &Endpoint, line: &str) -> ExitCode {
    match exchange(target, line) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            _ = writeln!(io::stderr(), "penctl: {}: {error}", target);
            ExitCode::FAILURE
        }
    }
}

/// Passes the reply on as it comes; false when nothing was done and where nobody takes the reply.
fn exchange(target: &Endpoint, line: &str) -> io::Result<bool> {
    // What the command itself waits for comes on top.
    let patience = match Command::parse(line, &Services::default()) {
        Ok(Some(Command::Wait(.., time))) => PATIENCE + time,
        _ => PATIENCE,
    };
    match &target.host {
        Host::Unix(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(patience))?;
            talk(stream, line)
        }
        Host::Ip(ip) => talk_tcp(&[*ip], target.port, line, patience),
        Host::Name(name) => talk_tcp(&resolve::lookup_now(name)?, target.port, line, patience),
    }
}

fn talk_tcp(addresses: &[IpAddr], port: u16, line: &str, patience: Duration) -> io::Result<bool> {
    let mut failure = io::ErrorKind::NotFound.into();
    for ip in addresses {
        match TcpStream::connect_timeout(&SocketAddr::new(*ip, port), PATIENCE) {
            Ok(stream) => {
                stream.set_read_timeout(Some(patience))?;
                return talk(stream, line);
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
        return Ok(false);
    }
    Ok(pass_on(&begin, &mut stream)? && !protocol::did_nothing(line, &text))
}

/// Writes `begin` and what is left of the reply; false where nobody takes it.
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
