//! Sends lines to penlogd or a log server, one datagram each.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::time::{Duration, Instant};

use memchr::memchr;

use crate::core::error::SystemReason;

use super::fault_reporter::FaultReporter;
use super::target::SinkTarget;

/// The minimum time between two lookups of the receiver's address.
const RESOLVE_AGAIN: Duration = Duration::from_secs(5);
/// How long no send must fail until the receiver is taken to work again. That one succeeds says nothing: its error may come with a later
/// one, and many systems send no more than one a second (icmp(7), icmp_ratelimit).
const SILENCE: Duration = Duration::from_secs(10);

/// A socket to the receiver, created when it is needed.
#[derive(Debug)]
pub(super) struct UdpSender {
    source: Option<IpAddr>,
    socket: Option<UdpSocket>,
    /// The addresses of the receiver, and the one in use.
    addresses: Vec<SocketAddr>,
    current: usize,
    resolved: Option<Instant>,
    /// When a send last failed, until the receiver is taken to work again after this time.
    failed: Option<Instant>,
    silence: Duration,
}

impl UdpSender {
    /// A sender with the source address `source`, or the one that the system chooses.
    pub(super) fn new(source: Option<IpAddr>) -> UdpSender {
        UdpSender {
            source,
            socket: None,
            addresses: Vec::new(),
            current: 0,
            resolved: None,
            failed: None,
            silence: SILENCE,
        }
    }

    /// Sends each line. Lines that cannot be sent are counted as lost.
    pub(super) fn send_lines(&mut self, mut lines: &[u8], target: &SinkTarget, faults: &mut FaultReporter) {
        while !lines.is_empty() {
            let end = memchr(b'\n', lines).map_or(lines.len(), |end| end + 1);
            let (line, rest) = lines.split_at(end);
            lines = rest;
            self.send(line, target, faults);
        }
    }

    /// Sends a line. An error may belong to the line before it (the port was closed); this line is then tried again.
    pub(super) fn send(&mut self, line: &[u8], target: &SinkTarget, faults: &mut FaultReporter) {
        for _ in 0..2 {
            let sent = match self.socket(target) {
                Ok(socket) => socket.send(line),
                Err(error) => Err(error),
            };
            let Err(error) = sent else {
                if self.failed.is_some_and(|at| at.elapsed() >= self.silence) {
                    self.failed = None;
                    faults.works(target);
                }
                return;
            };
            if error.kind() == io::ErrorKind::Interrupted {
                continue;
            }
            self.failed = Some(Instant::now());
            faults.failed(format_args!("cannot send log to {target}: {}", SystemReason(&error)));
            faults.lost(1, "");
            self.next_address();
            if error.kind() != io::ErrorKind::ConnectionRefused {
                return;
            }
        }
    }

    /// Drops the socket if there is another address to try or the name may resolve differently now.
    fn next_address(&mut self) {
        self.current += 1;
        if self.addresses.len() > 1 || self.resolved.is_none_or(|at| at.elapsed() >= RESOLVE_AGAIN) {
            self.socket = None;
        }
    }

    fn socket(&mut self, target: &SinkTarget) -> io::Result<&UdpSocket> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => self.connect(target)?,
        };
        Ok(self.socket.insert(socket))
    }

    fn connect(&mut self, target: &SinkTarget) -> io::Result<UdpSocket> {
        let Some((host, port)) = target.peer() else { return Err(io::ErrorKind::Unsupported.into()) };
        if self.resolved.is_none_or(|at| at.elapsed() >= RESOLVE_AGAIN) {
            self.resolved = Some(Instant::now());
            self.addresses = resolve(host, port)?;
            self.addresses.retain(|a| self.source.is_none_or(|source| source.is_ipv4() == a.is_ipv4()));
        }
        if self.addresses.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no usable address"));
        }
        let address = self.addresses[self.current % self.addresses.len()];
        let source = self.source.unwrap_or(match address {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        });
        let socket = UdpSocket::bind((source, 0))?;
        socket.connect(address)?;
        Ok(socket)
    }
}

#[expect(clippy::disallowed_methods, reason = "the log's own thread may wait for DNS: nothing waits for it")]
pub(super) fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok((host, port).to_socket_addrs()?.collect())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::weblog::sink::tests::lasting_udp_socket;

    #[test]
    fn it_works_again_after_a_time_without_errors() {
        let socket = lasting_udp_socket();
        let address = socket.local_addr().unwrap();
        drop(socket);
        let target = SinkTarget::Udp { host: address.ip().to_string(), port: address.port(), source: None };
        let (told, messages) = mpsc::channel::<String>();
        let mut faults = FaultReporter::new(Box::new(move |text| told.send(text.to_owned()).unwrap()));
        let mut sender = UdpSender::new(None);
        (0..3).for_each(|_| sender.send(b"lost", &target, &mut faults));
        assert!(messages.try_recv().unwrap().starts_with("cannot send log to 127.0.0.1:"));
        let _socket = UdpSocket::bind(address).unwrap();
        (0..3).for_each(|_| sender.send(b"too early to tell", &target, &mut faults));
        assert!(messages.try_iter().all(|text| !text.contains("works again")));
        sender.silence = Duration::ZERO;
        sender.send(b"arrives", &target, &mut faults);
        assert!(messages.try_iter().any(|text| text.ends_with(": works again")));
    }
}
