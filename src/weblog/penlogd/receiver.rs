//! penlogd's socket: receives datagrams and writes the log.

use std::fmt::Arguments;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use memchr::memchr;
use tokio::net::UdpSocket as AsyncSocket;
use tokio::signal::unix::Signal;

use crate::core::acl::Acl;
use crate::core::error::SystemReason;
use crate::sys::datagram::enlarge_receive_buffer;
use crate::sys::{listen, log};
use crate::weblog::sink::LogHandle;

use super::acl::read_acl;
use super::merger::Merger;

/// The largest UDP payload; pen and penlog send much smaller ones.
const LARGEST: usize = 65_536;

/// The requested size of the receive buffer: a second of a busy site. The system may allow less.
const SOCKET_BUFFER: usize = 4 << 20;

/// The number of datagrams that are read before signals and held lines are handled.
const BATCH: usize = 256;

/// How long the shutdown reads datagrams that have arrived, while more may be arriving.
const LAST_READ: Duration = Duration::from_secs(1);

/// Binds the port; `None` is every address, IPv4 and IPv6.
///
/// # Errors
/// Errors of bind(2), with the address.
pub(super) fn bind(address: Option<IpAddr>, port: u16) -> io::Result<UdpSocket> {
    let any = Ipv6Addr::UNSPECIFIED.into();
    let socket = match listen::bind_udp(SocketAddr::new(address.unwrap_or(any), port)) {
        // A system without IPv6 returns EAFNOSUPPORT or EADDRNOTAVAIL.
        Err(error) if address.is_none() && error.kind() != io::ErrorKind::AddrInUse => {
            listen::bind_udp(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port)).map_err(|_| error)?
        }
        other => other?,
    };
    // The system's limit may be lower; penlogd works with that too.
    enlarge_receive_buffer(&socket, SOCKET_BUFFER);
    Ok(socket)
}

/// Receives datagrams and writes lines.
pub(super) struct Receiver {
    socket: AsyncSocket,
    merger: Merger,
    output: LogHandle,
    acl: Acl,
    denied: log::Condition,
    buffer: Vec<u8>,
}

impl Receiver {
    /// A receiver for a bound socket. Call it within a runtime.
    pub(super) fn new(
        socket: UdpSocket,
        merger: Merger,
        output: LogHandle,
        acl: Acl,
    ) -> io::Result<Receiver> {
        Ok(Receiver {
            socket: AsyncSocket::from_std(socket)?,
            merger,
            output,
            acl,
            denied: log::Condition::new(),
            buffer: vec![0; LARGEST],
        })
    }

    /// The address of the socket.
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Receives until one of the first two signals; the third one reopens the log and reads the file `acl` again. Then
    /// receives the datagrams that have arrived, and writes all held lines.
    pub(super) async fn run(&mut self, signals: &mut [Signal], acl: Option<&Path>) {
        let [terminate, interrupt, hangup] = signals else { return };
        loop {
            let due = self.merger.next_release();
            tokio::select! {
                biased;
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hangup.recv() => self.reopen(acl),
                // Datagrams first: one may be the entry that a held line waits for.
                ready = self.socket.readable() => match ready {
                    Ok(()) => _ = self.receive(),
                    Err(error) => log::error(format_args!("cannot receive: {}", SystemReason(&error))),
                },
                () = until(due) => {}
            }
            let output = &self.output;
            self.merger.release_due(Instant::now(), |line| output.line(line));
        }
        let end = Instant::now() + LAST_READ;
        while self.receive() && Instant::now() < end {}
        let output = &self.output;
        self.merger.release_all(|line| output.line(line));
    }

    /// Receives a batch of datagrams. False if there are no more.
    fn receive(&mut self) -> bool {
        let now = Instant::now();
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut more = true;
        for _ in 0..BATCH {
            match self.socket.try_recv_from(&mut buffer) {
                Ok((n, from)) => self.datagram(&buffer[..n], from.ip().to_canonical(), now),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    more = false;
                    break;
                }
                // Some systems report ICMP errors here although nothing is ever sent.
                Err(error) => log::debug(1, format_args!("receive: {error}")),
            }
        }
        self.buffer = buffer;
        more
    }

    fn datagram(&mut self, datagram: &[u8], from: IpAddr, now: Instant) {
        if !self.acl.permits(Some(from)) {
            self.denied.begin(format_args!("a datagram from {from} was refused: the ACL does not permit it"));
            return;
        }
        trace(2, datagram, format_args!("{from}"));
        let output = &self.output;
        let mut rest = datagram;
        while !rest.is_empty() {
            let end = memchr(b'\n', rest).unwrap_or(rest.len());
            if !self.merger.line(&rest[..end], from, now, |line| output.line(line)) {
                trace(
                    1,
                    &rest[..end],
                    format_args!("neither an entry of pen nor a line with a request, from {from}"),
                );
            }
            rest = rest.get(end + 1..).unwrap_or_default();
        }
    }

    fn reopen(&mut self, acl: Option<&Path>) {
        self.output.reopen();
        match acl.map(read_acl).transpose() {
            Ok(Some(acl)) => {
                self.acl = acl;
                log::info(format_args!("log reopened, ACL read again"));
            }
            Ok(None) => log::info(format_args!("log reopened")),
            Err(error) => log::error(format_args!("{}; the ACL stays as it was", SystemReason(&error))),
        }
    }
}

/// Logs a datagram, for -d.
fn trace(level: u32, bytes: &[u8], what: Arguments<'_>) {
    if log::debug_level() >= level {
        log::debug(level, format_args!("{what}: {}", bytes.trim_ascii_end().escape_ascii()));
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
