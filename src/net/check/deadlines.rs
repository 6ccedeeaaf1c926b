//! The time limits of checks that are running, with one timer for all of them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

/// A limit, and a number that tells those of the same time apart.
type Key = (Instant, u64);

/// The limits that are not over yet. A timer for each would cost a system call for each: the runtime interrupts its wait for every
/// timer that is earlier than all before.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    limits: RefCell<BTreeMap<Key, oneshot::Sender<()>>>,
    /// The number of the last limit.
    last: Cell<u64>,
    /// When [`Deadlines::expire`] is called next.
    planned: Cell<Option<Instant>>,
    /// Notified when a limit is earlier than that.
    earlier: Notify,
}

impl Deadlines {
    /// The result of `work`; `None` if it takes longer than `time`. It is pinned by the caller: a future that was given away whole would take
    /// its room twice.
    pub(super) async fn within<T>(
        &self,
        time: Duration,
        work: Pin<&mut impl Future<Output = T>>,
    ) -> Option<T> {
        let (limit, over) = self.begin(time);
        tokio::select! {
            biased;
            result = work => {
                drop(limit);
                Some(result)
            }
            // The sender is never dropped before the limit is over.
            _ = over => None,
        }
    }

    fn begin(&self, time: Duration) -> (Limit<'_>, oneshot::Receiver<()>) {
        let (sender, over) = oneshot::channel();
        self.last.set(self.last.get() + 1);
        let key = (Instant::now() + time, self.last.get());
        self.limits.borrow_mut().insert(key, sender);
        if self.planned.get().is_none_or(|planned| key.0 < planned) {
            self.earlier.notify_one();
        }
        (Limit { deadlines: self, key }, over)
    }

    /// Ends the checks whose limit is over. Returns when to call it again: at `latest`, or at the first limit before.
    pub(super) fn expire(&self, latest: Option<Instant>) -> Option<Instant> {
        let mut limits = self.limits.borrow_mut();
        let now = Instant::now();
        while let Some(first) = limits.first_entry().filter(|first| first.key().0 <= now) {
            // Nobody receives it if the check has just ended.
            _ = first.remove().send(());
        }
        let next = limits.first_key_value().map(|(key, _)| key.0);
        self.planned.set(next.into_iter().chain(latest).min());
        self.planned.get()
    }

    /// Waits until a limit is earlier than what [`Deadlines::expire`] returned.
    pub(super) async fn earlier(&self) {
        self.earlier.notified().await;
    }
}

/// A limit of one check, until the check ends.
struct Limit<'a> {
    deadlines: &'a Deadlines,
    key: Key,
}

impl Drop for Limit<'_> {
    fn drop(&mut self) {
        self.deadlines.limits.borrow_mut().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::pin::pin;

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    /// As the checker does it.
    async fn watch(deadlines: &Deadlines) {
        loop {
            match deadlines.expire(None) {
                Some(next) => tokio::select! {
                    () = tokio::time::sleep_until(next) => {}
                    () = deadlines.earlier() => {}
                },
                None => deadlines.earlier().await,
            }
        }
    }

    /// What has ended, in order.
    async fn ended() -> [(&'static str, Option<()>); 4] {
        let deadlines = Deadlines::default();
        let ended = RefCell::new(Vec::new());
        let work = async |name: &'static str, time: u64, lasts: bool| {
            let time = Duration::from_millis(time);
            let result = match lasts {
                true => deadlines.within(time, pin!(pending())).await,
                false => deadlines.within(time, pin!(tokio::task::yield_now())).await,
            };
            ended.borrow_mut().push((name, result));
        };
        let works = async {
            // The second limit is earlier than what was planned for the first.
            tokio::join!(
                work("late", 40, true),
                work("early", 20, true),
                work("quick", 20, false),
                work("last", 60, true)
            );
        };
        tokio::select! {
            () = works => {}
            () = watch(&deadlines) => unreachable!(),
        }
        assert!(deadlines.limits.borrow().is_empty());
        ended.take().try_into().unwrap()
    }

    #[tokio::test]
    async fn each_limit_ends_its_own_work() {
        let expected = [("quick", Some(())), ("early", None), ("late", None), ("last", None)];
        let mut found = Vec::new();
        // On a machine that halts for longer than is between two limits, both are over at once.
        while found.last() != Some(&expected) {
            assert!(found.len() < 20, "{found:?}");
            found.push(ended().await);
        }
    }

    #[tokio::test]
    async fn what_is_given_up_leaves_nothing_behind() {
        let deadlines = Deadlines::default();
        let mut work = pin!(pending::<()>());
        tokio::select! {
            biased;
            _ = deadlines.within(LONG, work.as_mut()) => unreachable!(),
            () = tokio::task::yield_now() => {}
        }
        assert!(deadlines.limits.borrow().is_empty());
        assert_eq!(deadlines.expire(None), None);
    }

    #[tokio::test]
    async fn the_checker_is_woken_for_an_earlier_limit_alone() {
        let deadlines = Deadlines::default();
        let planned = Instant::now() + LONG;
        assert_eq!(deadlines.expire(Some(planned)), Some(planned));
        let (_later, _) = deadlines.begin(2 * LONG);
        let woken = async |deadlines: &Deadlines| {
            tokio::select! {
                biased;
                () = deadlines.earlier() => true,
                () = std::future::ready(()) => false,
            }
        };
        assert!(!woken(&deadlines).await);
        let (_earlier, _) = deadlines.begin(LONG / 2);
        assert!(woken(&deadlines).await);
    }
}
