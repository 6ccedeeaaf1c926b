//! The connection from the commands to the restarter: a socket at /etc/svc/volatile/repository_door, with one line for
//! the request and one for the answer.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use anyhow::Context;

/// The socket of the restarter; scripts take its existence as a sign that SMF is running.
pub(crate) const DOOR: &str = "/etc/svc/volatile/repository_door";

/// Sends a request and returns the answer; waits as long as the restarter takes.
pub(crate) fn call(request: &str) -> anyhow::Result<String> {
    let mut stream = UnixStream::connect(DOOR).context("Could not connect to the repository server")?;
    writeln!(stream, "{request}")?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).context("the restarter hung up")?;
    Ok(answer.trim_end().to_owned())
}

/// Sends a request if there is a restarter; otherwise only the repository counts.
pub(crate) fn tell(request: &str) {
    _ = call(request);
}
