//! Runs checks, each within its timeout.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};

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

    /// Waits until the check of this server may begin: the number of programs is limited.
    pub(super) async fn place(&self, backend: &Backend) -> Option<SemaphorePermit<'_>> {
        let runs = backend.check.as_ref().is_some_and(|check| check.config.kind == CheckType::Exec);
        // The semaphore is never closed.
        if runs { self.programs.acquire().await.ok() } else { None }
    }

    /// Checks a server within the timeout of its check.
    pub(super) async fn probe(&self, snapshot: &Snapshot, backend: &Backend) -> CheckOutcome {
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
        match self.deadlines.within(time, run(&probe)).await {
            Some(Ok(reason)) => CheckOutcome::Success(reason),
            Some(Err(Trouble::Server(reason))) => CheckOutcome::Failure(reason),
            Some(Err(Trouble::Here(reason))) => CheckOutcome::Unknown(reason),
            None => CheckOutcome::Failure(probe.late(time)),
        }
    }
}

/// Runs a check without a time limit.
async fn run(probe: &Probe<'_>) -> Result<String, Trouble> {
    match (probe.check.config.kind, probe.check.datagrams) {
        (CheckType::Exec, _) => exec::run(probe).await,
        (CheckType::Udp, _) | (CheckType::Dns, true) => datagram::ask(probe).await,
        _ => stream::ask(probe).await,
    }
}
