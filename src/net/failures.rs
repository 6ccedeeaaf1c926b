//! Failures of servers that workers have found, for the main thread, which checks these servers at once.

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
    /// Reports a failed server, unless it has no check.
    pub fn tell(&self, backend: &Backend) {
        if let (Some(server), Some(_)) = (backend.role.slot(), &backend.check) {
            self.servers.lock().insert(server);
            self.notify.notify_one();
        }
    }

    /// Waits until a server has failed.
    pub async fn told(&self) {
        self.notify.notified().await;
    }

    /// The servers that have failed since the last call.
    pub fn take(&self) -> BTreeSet<usize> {
        std::mem::take(&mut *self.servers.lock())
    }
}
