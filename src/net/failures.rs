//! Failures of servers that workers have met, for the main thread, which has these servers checked at once.

use std::collections::BTreeSet;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::core::snapshot::Backend;

/// The servers that have failed.
#[derive(Debug, Default)]
pub struct Failures {
    servers: Mutex<BTreeSet<usize>>,
    notify: Notify,
}

impl Failures {
    /// A server has failed; one that nobody checks is not told of.
    pub fn tell(&self, backend: &Backend) {
        if let (Some(server), Some(_)) = (backend.role.slot(), &backend.check) {
            self.servers.lock().insert(server);
            self.notify.notify_one();
        }
    }

    /// Waits until one has failed.
    pub async fn told(&self) {
        self.notify.notified().await;
    }

    /// Those that have failed since this was asked last.
    pub fn take(&self) -> BTreeSet<usize> {
        std::mem::take(&mut *self.servers.lock())
    }
}
