//! Penctl's side: sends a line and passes the reply on.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use crate::core::addr::{Endpoint, Host};
use crate::sys::resolve;

/// How long pen may take to accept a connection or to send more of its reply.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a reply begins that says that nothing was done.
const REFUSALS: [&[u8]; 2] = [b"error: ", b"do_cmd: ignoring command"];

/// Sends a command, a line without its line feed, to the control socket `target`. A reply goes to the standard output
/// and the status is 0; a refusal goes to the standard error and the status is 1, as it is when pen cannot be reached.
pub fn run(target: &Endpoint, line: &str) -> ExitCode {
    match exchange(target, line) {
        Ok(reply) if REFUSALS.iter().any(|r| reply.starts_with(r)) => {
            _ = io::stderr().write_all(&reply);
            ExitCode::FAILURE
        }
        Ok(reply) => match io::stdout().write_all(&reply).and_then(|()| io::stdout().flush()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(error) => {
            _ = writeln!(io::stderr(), "penctl: {}: {error}", target);
            ExitCode::FAILURE
        }
    }
}

fn exchange(target: &Endpoint, line: &str) -> io::Result<Vec<u8>> {
    match &target.host {
        Host::Unix(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            talk(stream, line)
        }
        Host::Ip(ip) => talk_tcp(&[*ip], target.port, line),
        Host::Name(name) => talk_tcp(&resolve::lookup_now(name)?, target.port, line),
    }
}

fn talk_tcp(addresses: &[IpAddr], port: u16, line: &str) -> io::Result<Vec<u8>> {
    let mut failure = io::ErrorKind::NotFound.into();
    for ip in addresses {
        match TcpStream::connect_timeout(&SocketAddr::new(*ip, port), PATIENCE) {
            Ok(stream) => {
                stream.set_read_timeout(Some(PATIENCE))?;
                return talk(stream, line);
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn talk(mut stream: impl Read + Write, line: &str) -> io::Result<Vec<u8>> {
    stream.write_all(format!("{line}\n").as_bytes())?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    Ok(reply)
}
