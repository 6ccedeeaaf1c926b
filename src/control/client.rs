//! Penctl's side: sends a line and passes the reply on.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use crate::core::addr::{Endpoint, Host};
use crate::sys::resolve;

/// What penctl is to do.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// The control socket.
    pub target: Endpoint,
    /// The command, a line without its line feed.
    pub line: String,
}

/// How long pen may take to accept a connection or to send more of its reply.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a reply begins that says that nothing was done.
const REFUSALS: [&[u8]; 2] = [b"error: ", b"do_cmd: ignoring command"];

/// Carries a request out. A reply goes to the standard output and the status is 0; a refusal goes to the standard error
/// and the status is 1, as it is when pen cannot be reached.
pub fn run(request: &Request) -> ExitCode {
    match exchange(request) {
        Ok(reply) if REFUSALS.iter().any(|r| reply.starts_with(r)) => {
            _ = io::stderr().write_all(&reply);
            ExitCode::FAILURE
        }
        Ok(reply) => match io::stdout().write_all(&reply).and_then(|()| io::stdout().flush()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(error) => {
            _ = writeln!(io::stderr(), "penctl: {}: {error}", request.target);
            ExitCode::FAILURE
        }
    }
}

fn exchange(request: &Request) -> io::Result<Vec<u8>> {
    match &request.target.host {
        Host::Unix(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            talk(stream, &request.line)
        }
        Host::Ip(ip) => talk_tcp(&[*ip], request),
        Host::Name(name) => talk_tcp(&resolve::lookup_now(name)?, request),
    }
}

fn talk_tcp(addresses: &[IpAddr], request: &Request) -> io::Result<Vec<u8>> {
    let mut failure = io::ErrorKind::NotFound.into();
    for ip in addresses {
        match TcpStream::connect_timeout(&SocketAddr::new(*ip, request.target.port), PATIENCE) {
            Ok(stream) => {
                stream.set_read_timeout(Some(PATIENCE))?;
                return talk(stream, &request.line);
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
