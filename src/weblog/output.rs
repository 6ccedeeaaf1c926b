//! What a log writer writes to: a file, standard output or penlogd.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

use memchr::memchr;

use super::health::Health;
use super::target::Target;

/// Least time between two attempts to find the address of penlogd.
const RESOLVE_AGAIN: Duration = Duration::from_secs(5);

/// An open target.
pub(super) struct Output {
    target: Target,
    to: To,
}

enum To {
    File {
        file: File,
        /// What was written last is not the end of a line.
        mid_line: bool,
    },
    Udp(Box<Sender>),
}

/// Opens a log file for appending, creating it if need be. Never waits (a FIFO without a reader is an error).
///
/// # Errors
/// Those of open(2).
pub(super) fn open_file(path: &Path) -> io::Result<File> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    OpenOptions::new().append(true).create(true).custom_flags(flags).open(path)
}

impl Output {
    /// Takes `file` as the open target, unless the target is no file.
    pub(super) fn new(target: Target, file: Option<File>) -> Option<Output> {
        let to = match (&target, file) {
            (Target::Udp { source, .. }, _) => To::Udp(Box::new(Sender::new(*source))),
            (_, Some(file)) => To::File { file, mid_line: false },
            (_, None) => return None,
        };
        Some(Output { target, to })
    }

    /// Whether lines are better collected than written one by one.
    pub(super) fn lingers(&self) -> bool {
        matches!(self.to, To::File { .. })
    }

    /// Writes whole lines; returns how many bytes are done with. Less than all means a full disk: try again later.
    pub(super) fn write(&mut self, lines: &[u8], health: &mut Health) -> usize {
        match &mut self.to {
            To::File { file, mid_line } => {
                let mut done = 0;
                while done < lines.len() {
                    match file.write(&lines[done..]) {
                        Ok(n) if n > 0 => {
                            done += n;
                            *mid_line = lines[done - 1] != b'\n';
                            health.works(&self.target);
                        }
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                        Ok(_) => break,
                        Err(error) => {
                            health.failed(format_args!("cannot write log {}: {error}", self.target));
                            break;
                        }
                    }
                }
                done
            }
            To::Udp(sender) => {
                sender.send_lines(lines, &self.target, health);
                lines.len()
            }
        }
    }

    /// Opens a file again by its name. True if that gave another file and the old one ends in half a line.
    pub(super) fn reopen(&mut self, health: &mut Health) -> bool {
        let (Target::File(path), To::File { file, mid_line }) = (&self.target, &mut self.to) else {
            return false;
        };
        match open_file(path) {
            Ok(new) => {
                let id = |file: &File| file.metadata().map(|m| (m.dev(), m.ino())).ok();
                let same = id(&new) == id(file);
                *file = new;
                !same && std::mem::take(mid_line)
            }
            Err(error) => {
                let path = path.display();
                health.say(&format!("cannot reopen log {path}: {error}; the old file goes on being written"));
                false
            }
        }
    }
}

/// Sends lines to penlogd, a datagram each.
struct Sender {
    source: Option<IpAddr>,
    socket: Option<UdpSocket>,
    /// The addresses of penlogd, and the one in use.
    addresses: Vec<SocketAddr>,
    current: usize,
    resolved: Option<Instant>,
}

impl Sender {
    fn new(source: Option<IpAddr>) -> Sender {
        Sender { source, socket: None, addresses: Vec::new(), current: 0, resolved: None }
    }

    fn send_lines(&mut self, mut lines: &[u8], target: &Target, health: &mut Health) {
        while !lines.is_empty() {
            let end = memchr(b'\n', lines).map_or(lines.len(), |end| end + 1);
            let (line, rest) = lines.split_at(end);
            lines = rest;
            self.send(line, target, health);
        }
    }

    /// Sends a line. An error of the one before it (its port was closed) shows only now; this one is tried again.
    fn send(&mut self, line: &[u8], target: &Target, health: &mut Health) {
        for _ in 0..2 {
            let sent = match self.socket(target) {
                Ok(socket) => socket.send(line),
                Err(error) => Err(error),
            };
            let Err(error) = sent else { return };
            if error.kind() == io::ErrorKind::Interrupted {
                continue;
            }
            health.failed(format_args!("cannot send log to {target}: {error}"));
            health.lost(1, "");
            if error.kind() != io::ErrorKind::ConnectionRefused {
                self.next_address();
                return;
            }
            self.next_address();
        }
    }

    /// Forgets the socket if there is another address to try or the name may have another meaning by now.
    fn next_address(&mut self) {
        self.current += 1;
        if self.addresses.len() > 1 || self.resolved.is_none_or(|at| at.elapsed() >= RESOLVE_AGAIN) {
            self.socket = None;
        }
    }

    fn socket(&mut self, target: &Target) -> io::Result<&UdpSocket> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => self.connect(target)?,
        };
        Ok(self.socket.insert(socket))
    }

    fn connect(&mut self, target: &Target) -> io::Result<UdpSocket> {
        let Target::Udp { host, port, .. } = target else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        if self.resolved.is_none_or(|at| at.elapsed() >= RESOLVE_AGAIN) {
            self.resolved = Some(Instant::now());
            self.addresses = resolve(host, *port)?;
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
fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok((host, port).to_socket_addrs()?.collect())
}
