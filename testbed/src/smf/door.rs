//! How the commands reach the restarter: a socket at /etc/svc/volatile/repository_door, with a line for the request and a
//! line for the answer.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use anyhow::Context;

/// Where the restarter listens; scripts take its presence as a sign that SMF is running.
pub(crate) const DOOR: &str = "/etc/svc/volatile/repository_door";

/// Sends a request and returns the answer; waits as long as the restarter takes.
pub(crate) fn call(request: &str) -> anyhow::Result<String> {
    let mut stream = UnixStream::connect(DOOR).context("Could not connect to the repository server")?;
    writeln!(stream, "{request}")?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).context("the restarter hung up")?;
    Ok(answer.trim_end().to_owned())
}

/// The same, when there may be no restarter: then the repository is all there is.
pub(crate) fn tell(request: &str) {
    _ = call(request);
}
