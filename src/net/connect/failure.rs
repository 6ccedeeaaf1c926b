//! Why a connection to a server failed, and the consequences.

use std::io;

use crate::core::end_reason::EndReason;
use crate::core::snapshot::ServerAddress;
use crate::net::upstream_tls::TlsFailure;
use crate::sys::error::{is_of_network, is_shortage};

/// The origin of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The server, or the network between: the server is blacklisted, and the next one is tried.
    Upstream,
    /// Pen or its system, on the way to this server, for example a lack of local ports for it. It says nothing about
    /// the server; the next one is tried.
    Internal,
    /// Pen or its system lacks descriptors or memory: no server can be reached now, and none has failed.
    Shortage,
    /// The client, which has gone.
    Downstream,
}

/// A failure to connect.
#[derive(Debug)]
pub struct Failure {
    /// Its origin.
    pub origin: Origin,
    /// The error of the system.
    pub error: io::Error,
}

impl From<TlsFailure> for Failure {
    fn from(failure: TlsFailure) -> Self {
        let (origin, why) = match failure {
            TlsFailure::Server(why) => (Origin::Upstream, why),
            TlsFailure::Here(why) => (Origin::Internal, why),
            TlsFailure::Shortage(error) => return Failure { origin: Origin::Shortage, error },
        };
        Failure { origin, error: io::Error::other(why) }
    }
}

impl Failure {
    /// The server accepted the connection and did not complete the TLS handshake in time.
    pub fn handshake_timed_out() -> Self {
        let error = io::Error::new(io::ErrorKind::TimedOut, "TLS handshake: timed out");
        Failure { origin: Origin::Upstream, error }
    }

    /// The server did not answer in time.
    pub fn timed_out() -> Self {
        let error = io::Error::new(io::ErrorKind::TimedOut, "connect timed out");
        Failure { origin: Origin::Upstream, error }
    }

    /// The client left before it had a server.
    pub fn client_gone() -> Self {
        Failure { origin: Origin::Downstream, error: io::ErrorKind::ConnectionAborted.into() }
    }

    /// There was no server to try.
    pub fn no_server() -> Self {
        let error = io::Error::new(io::ErrorKind::NotFound, "no server is available");
        Failure { origin: Origin::Upstream, error }
    }

    /// How a client's connection ends if this is the last failure.
    pub fn reason(&self) -> EndReason {
        match self.origin {
            Origin::Upstream | Origin::Internal => EndReason::NoServer,
            Origin::Shortage => EndReason::Shortage,
            Origin::Downstream => EndReason::ClientClosed,
        }
    }

    /// Whether the next server may be tried.
    pub fn allows_next(&self) -> bool {
        matches!(self.origin, Origin::Upstream | Origin::Internal)
    }

    /// An operation of pen itself has failed, such as creating a socket.
    pub fn of_pen(error: io::Error) -> Self {
        let origin = if is_shortage(&error) { Origin::Shortage } else { Origin::Internal };
        Failure { origin, error }
    }

    /// connect(2) to this address has failed.
    pub fn of_connect(address: &ServerAddress, error: io::Error) -> Self {
        let origin = match address {
            _ if is_shortage(&error) => Origin::Shortage,
            // An error of a path is the server's.
            ServerAddress::Unix(_) => Origin::Upstream,
            ServerAddress::Ip(_) if is_of_network(&error) => Origin::Upstream,
            ServerAddress::Ip(_) => Origin::Internal,
        };
        Failure { origin, error }
    }

    /// Sending to a server that is connected, or receiving from it, has failed.
    pub fn of_exchange(error: io::Error) -> Self {
        let origin = match error.kind() {
            _ if is_shortage(&error) => Origin::Shortage,
            io::ErrorKind::Interrupted => Origin::Internal,
            _ => Origin::Upstream,
        };
        Failure { origin, error }
    }

    /// The more significant of two failures of a server: if one of its addresses could not be tried because of a
    /// shortage, the state of the server is unknown; if one has failed, the server has.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let rank = |failure: &Self| match failure.origin {
            Origin::Internal => 0,
            Origin::Upstream => 1,
            Origin::Shortage => 2,
            Origin::Downstream => 3,
        };
        if rank(&other) >= rank(&self) { other } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(code: i32) -> Origin {
        let address = ServerAddress::Ip(([127, 0, 0, 1], 1).into());
        Failure::of_connect(&address, io::Error::from_raw_os_error(code)).origin
    }

    #[test]
    fn whose_failure_it_is_follows_from_the_error() {
        for code in [libc::ECONNREFUSED, libc::ETIMEDOUT, libc::EHOSTUNREACH] {
            assert_eq!(origin(code), Origin::Upstream);
        }
        for code in [libc::EADDRNOTAVAIL, libc::EAFNOSUPPORT, libc::EPERM, libc::EINVAL, libc::ENETDOWN] {
            assert_eq!(origin(code), Origin::Internal);
        }
        for code in [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM, libc::ENOSPC] {
            assert_eq!(origin(code), Origin::Shortage);
            assert_eq!(Failure::of_pen(io::Error::from_raw_os_error(code)).origin, Origin::Shortage);
        }
        let path = ServerAddress::Unix("/run/x".into());
        let failure = |code| Failure::of_connect(&path, io::Error::from_raw_os_error(code)).origin;
        assert_eq!([libc::ENOENT, libc::EACCES].map(failure), [Origin::Upstream; 2]);
        // An event port without room says nothing about the server.
        assert_eq!(
            Failure::of_pen(io::Error::from_raw_os_error(libc::ECONNREFUSED)).origin,
            Origin::Internal
        );
    }

    #[test]
    fn the_word_for_a_connection_that_fails_says_whose_fault_it_is() {
        let reason = |code| Failure::of_pen(io::Error::from_raw_os_error(code)).reason();
        assert_eq!(
            [libc::EMFILE, libc::ENOMEM, libc::EADDRNOTAVAIL].map(reason),
            [EndReason::Shortage, EndReason::Shortage, EndReason::NoServer]
        );
        assert_eq!(
            [Failure::no_server().reason(), Failure::client_gone().reason()],
            [EndReason::NoServer, EndReason::ClientClosed]
        );
    }

    #[test]
    fn of_several_addresses_one_that_failed_decides_unless_there_was_a_shortage() {
        let [refused, no_family, no_memory] =
            [libc::ECONNREFUSED, libc::EAFNOSUPPORT, libc::ENOMEM].map(|code| {
                let address = ServerAddress::Ip(([127, 0, 0, 1], 1).into());
                move || Failure::of_connect(&address, io::Error::from_raw_os_error(code))
            });
        assert_eq!(refused().or(no_family()).origin, Origin::Upstream);
        assert_eq!(no_family().or(refused()).origin, Origin::Upstream);
        assert_eq!(no_memory().or(refused()).origin, Origin::Shortage);
        assert_eq!(no_family().or(no_family()).origin, Origin::Internal);
        assert!(refused().allows_next() && no_family().allows_next());
        assert!(!no_memory().allows_next() && !Failure::client_gone().allows_next());
    }
}
