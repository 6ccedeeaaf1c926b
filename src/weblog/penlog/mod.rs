//! penlog: sends the lines of a web server's log to penlogd.

mod input;
mod lines;

use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::fd::AsFd as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::sink::{LogHandle, SinkOptions, SinkTarget};
use crate::core::error::{SystemReason, one_line};
use input::{Event, StoppableInput};
use lines::LineAssembler;

/// How long the shutdown waits for lines that are not yet sent.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long penlog continues to read after a signal while more input comes.
const LAST_READ: Duration = Duration::from_secs(2);

/// How long penlog waits for the rest of a line after a signal.
const REST_OF_LINE: Duration = Duration::from_millis(200);

/// Bytes per read: the capacity of a pipe.
const BUFFER: usize = 64 << 10;

/// The options of penlog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PenlogOptions {
    /// Name or address of the machine where penlogd runs.
    pub host: String,
    /// The port of penlogd.
    pub port: u16,
    /// The source address.
    pub source: Option<IpAddr>,
}

/// Sends standard input to penlogd until its end or a signal. Returns the exit status.
pub fn run(options: &PenlogOptions) -> ExitCode {
    match send(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&SystemReason(&error).to_string());
            ExitCode::FAILURE
        }
    }
}

fn send(options: &PenlogOptions) -> io::Result<()> {
    let mut input = StoppableInput::new(io::stdin().as_fd().try_clone_to_owned()?)?;
    let sender = LogHandle::start(SinkOptions::default(), Box::new(tell))?;
    let PenlogOptions { host, port, source } = options.clone();
    sender.set(Some(SinkTarget::Udp { host, port, source }))?;
    let result = pass_on(&mut input, &sender);
    if let Err(lost) = sender.close(PATIENCE) {
        tell(&lost);
    }
    result
}

/// Reads until the end of the input. After a signal, the contents of the pipe are read, which would otherwise be lost,
/// but only for a moment: the web server may continue to write.
fn pass_on(input: &mut StoppableInput, sender: &LogHandle) -> io::Result<()> {
    let (mut buffer, mut lines) = (vec![0; BUFFER], LineAssembler::default());
    let mut deadline = None;
    loop {
        let event = match deadline {
            None => input.wait()?,
            Some(deadline) if Instant::now() >= deadline => Event::Timeout,
            Some(_) if lines.is_mid_line() => input.wait_at_most(REST_OF_LINE)?,
            Some(_) => input.wait_at_most(Duration::ZERO)?,
        };
        match event {
            Event::Stop => deadline = Some(Instant::now() + LAST_READ),
            Event::Timeout => break,
            Event::Readable => match input.read(&mut buffer)? {
                0 => break,
                n => lines.push(&buffer[..n], |line| sender.line_waiting(line, deadline)),
            },
        }
    }
    lines.end(|line| sender.line_waiting(line, deadline));
    Ok(())
}

fn tell(text: &str) {
    // An error here could not be reported anywhere.
    let _ = writeln!(io::stderr(), "penlog: {}", one_line(text.to_owned()));
}
