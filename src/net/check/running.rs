//! The checks that are running, which are cancelled when they are no longer wanted.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use tokio::task::AbortHandle;

/// The task of each check that is running, by the period of its server: that of no other server, nor of the same one with another
/// address or check.
#[derive(Debug, Default)]
pub(super) struct RunningChecks(RefCell<HashMap<u64, AbortHandle>>);

impl RunningChecks {
    /// A check of the server with this period has begun.
    pub(super) fn begins(&self, period: u64, task: AbortHandle) {
        self.0.borrow_mut().insert(period, task);
    }

    /// It has ended by itself.
    pub(super) fn ends(&self, period: u64) {
        self.0.borrow_mut().remove(&period);
    }

    /// Cancels all but those of these periods: the runtime drops such a task next, with its connection, its program and its place among
    /// the programs. It has no result.
    pub(super) fn keep(&self, wanted: &HashSet<u64>) {
        self.0.borrow_mut().retain(|period, task| {
            let stays = wanted.contains(period);
            if !stays {
                task.abort();
            }
            stays
        });
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::rc::Rc;

    use super::*;

    #[tokio::test]
    async fn what_is_no_longer_wanted_is_dropped_next() {
        let held = [1, 2, 3].map(|_| Rc::new(()));
        let local = tokio::task::LocalSet::new();
        let running = RunningChecks::default();
        for (period, held) in (1..).zip(&held) {
            let held = Rc::clone(held);
            let task = local.spawn_local(async move {
                pending::<()>().await;
                drop(held);
            });
            running.begins(period, task.abort_handle());
        }
        running.ends(3);
        running.keep(&HashSet::from([2]));
        local.run_until(tokio::task::yield_now()).await;
        assert_eq!(held.each_ref().map(Rc::strong_count), [1, 2, 2]);
        assert_eq!(running.0.borrow().keys().collect::<Vec<_>>(), [&2]);
    }
}
