//! Runs checks, each within its timeout.

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::core::health::CheckType;
use crate::core::snapshot::{Backend, Snapshot};
use crate::net::shared::Shared;

use super::deadlines::Deadlines;
use super::outcome::{CheckOutcome, Trouble};
use super::probe::{CheckStage, Probe};
use super::{datagram, exec, stream};

/// The largest datagram.
const DATAGRAM_MAX: usize = 65_535;

/// The maximum number of concurrent programs.
const PROGRAMS_MAX: usize = 16;

/// The data that all checks share.
#[derive(Debug)]
pub(super) struct Prober {
    programs: Semaphore,
    buffer: RefCell<Box<[u8]>>,
    shared: Arc<Shared>,
    pub(super) deadlines: Deadlines,
}

impl Prober {
    /// A prober for the servers of this pen.
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Prober {
            programs: Semaphore::new(PROGRAMS_MAX),
            buffer: RefCell::new(vec![0; DATAGRAM_MAX].into()),
            shared,
            deadlines: Deadlines::default(),
        }
    }

    /// Checks a server as soon as it may begin. Also returns how long the check itself took.
    pub(super) async fn run(&self, snapshot: &Snapshot, backend: &Backend) -> (CheckOutcome, Duration) {
        let _place = self.place(backend).await;
        let begin = Instant::now();
        let outcome = self.probe(snapshot, backend).await;
        (outcome, begin.elapsed())
    }

    /// Waits until the check of this server may begin: the number of programs is limited.
    async fn place(&self, backend: &Backend) -> Option<SemaphorePermit<'_>> {
        let runs = backend.check.as_ref().is_some_and(|check| check.config.kind == CheckType::Exec);
        // The semaphore is never closed.
        if runs { self.programs.acquire().await.ok() } else { None }
    }

    /// Checks a server within the timeout of its check.
    async fn probe(&self, snapshot: &Snapshot, backend: &Backend) -> CheckOutcome {
        let Some(check) = backend.check.as_ref().map(Arc::as_ref) else {
            return CheckOutcome::Unknown("it has no check".into());
        };
        let probe = Probe {
            snapshot,
            backend,
            check,
            upstream_tls: &self.shared.upstream_tls,
            stage: Cell::<CheckStage>::default(),
            deadlines: &self.deadlines,
            buffer: &self.buffer,
        };
        let time = check.config.timeout;
        match self.deadlines.within(time, pin!(run(&probe))).await {
            Some(Ok(reason)) => CheckOutcome::Success(reason),
            Some(Err(Trouble::Server(reason))) => CheckOutcome::Failure(reason),
            Some(Err(Trouble::Here(reason))) => CheckOutcome::Unknown(reason),
            None => CheckOutcome::Failure(probe.late(time)),
        }
    }
}

/// Runs a check without a time limit. The large futures of rarer types are boxed, so that the task of any other check stays small.
async fn run(probe: &Probe<'_>) -> Result<String, Trouble> {
    match (probe.check.config.kind, probe.check.datagrams) {
        (CheckType::Exec, _) => Box::pin(exec::run(probe)).await,
        (CheckType::Udp, _) | (CheckType::Dns, true) => Box::pin(datagram::ask(probe)).await,
        _ => stream::ask(probe).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The size of the future of an asynchronous function of three arguments.
    fn size<A, B, C, F>(_: fn(A, B, C) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn the_task_of_a_check_is_small() {
        // It is allocated and moved for every check, and was 2600 bytes when each future took the next one over whole.
        let size = size(Prober::run);
        assert!(size <= 1032, "{size} bytes");
    }
}
