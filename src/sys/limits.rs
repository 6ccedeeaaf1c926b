//! The limit of descriptors, and the number of connections that it allows.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::error::context;

/// Descriptors that connections do not get, so that the control socket, a log that is reopened, a configuration that is
/// read and a name lookup still find one when pen is full.
pub const RESERVE: u64 = 32;

/// Descriptors that pen uses with one worker while it serves one client, including some for reading, writing and name
/// lookups.
const LEAST: u64 = 30;
/// The descriptors of each further worker: its event ports, and the channel to its listener.
const WORKER: u64 = 6;

/// The minimum limit of descriptors with which pen can serve with so many workers.
pub fn least_descriptors(workers: u64) -> u64 {
    workers.saturating_sub(1).saturating_mul(WORKER).saturating_add(LEAST)
}

/// Raises the soft limit of open descriptors to the hard one, which needs no privilege, and returns the resulting
/// limit.
///
/// # Errors
/// The system refuses; the old limit remains in force.
pub fn raise_descriptors() -> io::Result<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
            .map_err(|error| context("cannot raise the limit of open files", error))?;
    }
    // `None` means unlimited.
    Ok(maximum.unwrap_or(u64::MAX))
}

/// The number of connections that fit into `limit` descriptors when `fixed` are used by listeners, pipes and so on:
/// each connection has two, one for the client and one for the server.
pub fn connections(limit: u64, fixed: u64) -> u64 {
    limit.saturating_sub(RESERVE).saturating_sub(fixed) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let limit = raise_descriptors().expect("needs no privilege");
        let now = getrlimit(Resource::Nofile);
        assert_eq!(now.current, now.maximum);
        assert_eq!(limit, now.current.unwrap_or(u64::MAX));
        assert_eq!(raise_descriptors().expect("once more"), limit);
    }

    #[test]
    fn a_connection_takes_two() {
        assert_eq!(connections(1024, 0), 496);
        assert_eq!(connections(1024, 10), 491);
        assert_eq!(connections(RESERVE, 0), 0);
        assert_eq!(connections(3, 7), 0);
        assert_eq!(connections(u64::MAX, 0), (u64::MAX - RESERVE) / 2);
    }
}
