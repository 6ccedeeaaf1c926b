//! The addresses of a server, which a check tries one after another as clients' connections do.

use std::io;
use std::time::Duration;

use crate::core::address_order;
use crate::core::snapshot::ServerAddress;
use crate::net::connect::failure::{Failure, Origin};

use super::outcome::Trouble;
use super::probe::Probe;

/// What the answer of an address says of the server: that it works or does not, and why.
pub(super) type CheckVerdict = Result<String, String>;

/// The server has failed, for this reason.
pub(super) fn of_server(reason: impl Into<String>) -> Failure {
    Failure { origin: Origin::Upstream, error: io::Error::other(reason.into()) }
}

/// What the first address says at which `attempt` finds that the server works: clients are connected to it first from now on.
/// Otherwise the first wrong answer, if there is one, or the last failure. `attempt` is given the address, with the port of the check,
/// and its share of the time; the last one may take all that is left.
pub(super) async fn first_of(
    probe: &Probe<'_>,
    attempt: impl AsyncFn(&ServerAddress, Duration) -> Result<CheckVerdict, Failure>,
) -> Result<String, Trouble> {
    let backend = probe.backend;
    let order = address_order::order(&backend.addresses, backend.stats.worked());
    let share = share(probe.check.config.timeout, order.len());
    let (mut wrong, mut failed): (Option<String>, Option<Failure>) = (None, None);
    let mut left = order.len();
    for own in order.into_iter().filter_map(|n| backend.addresses.get(n)) {
        left -= 1;
        let address = probe.address(own);
        let result = match left {
            0 => attempt(&address, share).await,
            _ => {
                // Boxed: it is large, and most servers have one address.
                let result = probe.deadlines.within(share, Box::pin(attempt(&address, share)).as_mut()).await;
                result.unwrap_or_else(|| Err(of_server(probe.late(share))))
            }
        };
        match result {
            Ok(Ok(reason)) => {
                // No failed connect tells clients which address is silent, frozen or sick.
                let (mark, fall) = (address_order::mark(own), probe.check.config.fall);
                match backend.addresses.len() {
                    0 | 1 => {}
                    _ if probe.check.datagrams => backend.stats.check_found_address(mark, fall),
                    _ => backend.stats.remember_address(mark),
                }
                return Ok(reason);
            }
            Ok(Err(reason)) => _ = wrong.get_or_insert(reason),
            Err(failure) => {
                failed = Some(match failed {
                    Some(before) => before.or(failure),
                    None => failure,
                });
            }
        }
    }
    match (wrong, failed) {
        // An address that could not be asked for a lack of memory may work.
        (Some(wrong), failed) if failed.as_ref().is_none_or(|f| f.origin != Origin::Shortage) => {
            Err(Trouble::Server(wrong))
        }
        (_, failed) => Err(failed.unwrap_or_else(|| of_server("its name has no address")).into()),
    }
}

/// The share of each of `count` addresses, in whole milliseconds.
fn share(time: Duration, count: usize) -> Duration {
    let share = time / u32::try_from(count.max(1)).unwrap_or(u32::MAX);
    Duration::from_millis(crate::core::millis(share))
}
