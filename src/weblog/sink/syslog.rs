//! Sends lines to a log server as RFC 5424 has them.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use memchr::memchr;
use syslog::{Formatter5424, LogFormat as _, Severity};

use crate::core::error::SystemReason;
use crate::core::log_target::SyslogTransport;
use crate::sys::{hangup, log};

use super::fault_reporter::FaultReporter;
use super::target::SinkTarget;
use super::udp::{UdpSender, resolve};

/// How long a connection to the log server, or a write to it, may take.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The same, once the log is to end: clients may be waiting for pen to be started again.
const LAST_TIMEOUT: Duration = Duration::from_millis(500);
/// The shortest time between two attempts to connect.
const CONNECT_AGAIN: Duration = Duration::from_millis(500);

/// Formats lines and sends them.
pub(super) struct SyslogSender {
    formatter: Formatter5424,
    socket: SyslogSocket,
}

enum SyslogSocket {
    Udp(UdpSender),
    Tcp(TcpConnection),
}

/// A connection, made when it is needed.
struct TcpConnection {
    stream: Option<TcpStream>,
    /// The last attempt to connect.
    tried: Option<Instant>,
    /// How long an attempt to connect may take.
    timeout: Duration,
}

impl std::fmt::Debug for SyslogSender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SyslogSender").finish_non_exhaustive()
    }
}

impl SyslogSender {
    /// A sender that is not connected yet.
    pub(super) fn new(transport: SyslogTransport) -> Self {
        let identity = log::identity();
        let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
        SyslogSender {
            formatter: Formatter5424 {
                // The words are those of the setting.
                facility: identity.facility.parse().unwrap_or_default(),
                hostname: Some(host.filter(|name| !name.is_empty()).unwrap_or_else(|| "-".into())),
                process: identity.ident.to_string_lossy().into_owned(),
                pid: std::process::id(),
            },
            socket: match transport {
                SyslogTransport::Udp => SyslogSocket::Udp(UdpSender::new(None)),
                SyslogTransport::Tcp => SyslogSocket::Tcp(TcpConnection::new()),
            },
        }
    }

    /// Sends whole lines; returns the number of bytes that are done with. If fewer than all, try again later.
    pub(super) fn send_lines(
        &mut self,
        lines: &[u8],
        target: &SinkTarget,
        faults: &mut FaultReporter,
    ) -> usize {
        let mut done = 0;
        while let Some(length) = memchr(b'\n', &lines[done..]) {
            let message = self.message(&lines[done..done + length]);
            match &mut self.socket {
                SyslogSocket::Udp(sender) => sender.send(&message, target, faults),
                SyslogSocket::Tcp(connection) => match connection.send(&message, target) {
                    Some(Ok(())) => faults.works(target),
                    Some(Err(error)) => {
                        faults.failed(format_args!("cannot send log to {target}: {}", SystemReason(&error)));
                        return done;
                    }
                    None => return done,
                },
            }
            done += length + 1;
        }
        done
    }

    /// See [`super::output::SinkOutput::expect_the_end`].
    pub(super) fn expect_the_end(&mut self) {
        if let SyslogSocket::Tcp(connection) = &mut self.socket {
            (connection.tried, connection.timeout) = (None, LAST_TIMEOUT);
        }
    }

    fn message(&self, line: &[u8]) -> Vec<u8> {
        let mut message = Vec::with_capacity(line.len() + 128);
        let text = (0, BTreeMap::new(), String::from_utf8_lossy(line));
        // Writing to memory cannot fail.
        _ = self.formatter.format(&mut message, Severity::LOG_INFO, text);
        message
    }
}

impl TcpConnection {
    fn new() -> TcpConnection {
        TcpConnection { stream: None, tried: None, timeout: TIMEOUT }
    }

    /// Sends a message after its length; `None` if it is too early to connect again.
    fn send(&mut self, message: &[u8], target: &SinkTarget) -> Option<io::Result<()>> {
        // What is written to a connection that the log server has closed would be lost.
        let mut stream = match self.stream.take().filter(|stream| !hangup::is_at_end(stream)) {
            Some(stream) => stream,
            None if self.tried.is_some_and(|at| at.elapsed() < CONNECT_AGAIN) => return None,
            None => {
                self.tried = Some(Instant::now());
                match connect(target, self.timeout) {
                    Ok(stream) => stream,
                    Err(error) => return Some(Err(error)),
                }
            }
        };
        let mut frame = format!("{} ", message.len()).into_bytes();
        frame.extend_from_slice(message);
        // A message that was sent in part is sent again, on another connection.
        let sent = stream.write_all(&frame);
        if sent.is_ok() {
            self.stream = Some(stream);
        }
        Some(sent)
    }
}

fn connect(target: &SinkTarget, timeout: Duration) -> io::Result<TcpStream> {
    let (host, port) = target.peer().ok_or(io::ErrorKind::Unsupported)?;
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no usable address");
    for address in resolve(host, port)? {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(stream) => {
                stream.set_write_timeout(Some(TIMEOUT))?;
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}
