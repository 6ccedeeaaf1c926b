//! Resolves names before pen serves, and while it does.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use crate::core::error::SystemReason;
use crate::core::snapshot::Resolved;
use crate::core::state::Lookups;
use crate::sys::log::Conditions;
use crate::sys::{resolve, runtime};

/// How long pen waits before it looks up a name again that could not be resolved.
const RETRY: Duration = Duration::from_secs(10);

/// The number of concurrent lookups while pen serves, each on a thread of its own.
const LOOKUPS_WHILE_SERVING: usize = 256;

/// A name, and its addresses.
pub(super) type FoundName = (String, Vec<IpAddr>);

/// The number of concurrent lookups before pen serves.
const LOOKUPS: usize = 64;

/// The names to look up, and the state of each.
#[derive(Debug)]
pub(super) struct Dns {
    names: RefCell<Names>,
    wanted: Notify,
}

#[derive(Debug, Default)]
struct Names {
    /// The names that servers use.
    used: Arc<BTreeSet<String>>,
    /// The names that have an address.
    known: HashSet<String>,
    /// The names to look up although they have an address, or although a lookup is in progress, which began too early.
    stale: HashSet<String>,
    /// The names that could not be resolved.
    troubled: Conditions<String>,
}

impl Names {
    /// Whether `name`, which servers use, is to be looked up.
    fn needs_lookup(&self, name: &str) -> bool {
        self.stale.contains(name) || !self.known.contains(name)
    }
}

impl Dns {
    /// A resolver for which these addresses are known.
    pub(super) fn new(resolved: &Resolved) -> Self {
        let names = Names { known: resolved.keys().cloned().collect(), ..Names::default() };
        Dns { names: RefCell::new(names), wanted: Notify::new() }
    }

    /// Looks up these names from now on, and retries those that could not be resolved.
    pub(super) fn look_up(&self, lookups: Lookups) {
        let mut names = self.names.borrow_mut();
        names.stale.extend(lookups.again);
        names.used = lookups.names;
        let Names { used, stale, troubled, .. } = &mut *names;
        stale.retain(|name| used.contains(name));
        troubled.retain(|name| used.contains(name));
        self.wanted.notify_one();
    }

    /// Looks up names on demand, each on its own thread, and passes the addresses of those that were found meanwhile to `found`.
    /// Never returns.
    pub(super) async fn run(&self, found: impl Fn(Vec<FoundName>)) {
        self.look_up_with(resolve::lookup_now, found).await;
    }

    /// The same with the answers that `lookup` gives.
    async fn look_up_with(
        &self,
        lookup: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Copy + Send + 'static,
        found: impl Fn(Vec<FoundName>),
    ) {
        let (sender, mut results) = mpsc::unbounded_channel();
        let mut busy = HashSet::new();
        let mut failed = HashSet::new();
        let mut begun = LookupOrder::default();
        // Not gone through anew for each answer: there may be thousands of names.
        let mut due = VecDeque::from(self.due());
        // Each call of `found` may be expensive, whatever the number of names: it gets all that came while the one before was in
        // progress and as long again, so that other work has half of the time.
        let mut answers = Vec::new();
        let mut pause_ends = Instant::now();
        loop {
            while busy.len() < LOOKUPS_WHILE_SERVING
                && let Some(name) = due.pop_front()
            {
                if !failed.contains(&name) && self.is_due(&name) && busy.insert(name.clone()) {
                    // A request from now on makes it stale again, and causes another lookup.
                    self.names.borrow_mut().stale.remove(&name);
                    begun.note(&name);
                    let (theirs, asked) = (sender.clone(), name.clone());
                    let look = move || _ = theirs.send((asked.clone(), lookup(&asked)));
                    if let Err(error) = runtime::start_blocking(look) {
                        // As if it could not be resolved: it is retried. The receiver is here.
                        _ = sender.send((name, Err(error)));
                    }
                }
            }
            let retries = !failed.is_empty() && due.is_empty();
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(pause_ends), if !answers.is_empty() => {
                    let begin = Instant::now();
                    found(std::mem::take(&mut answers));
                    pause_ends = Instant::now() + begin.elapsed();
                }
                Some(first) = results.recv() => {
                    let mut next = Some(first);
                    while let Some((name, result)) = next {
                        busy.remove(&name);
                        if result.is_err() {
                            failed.insert(name.clone());
                        }
                        let addresses = self.judge(&name, result);
                        // It was asked for once more while the lookup was in progress.
                        if !failed.contains(&name) && self.is_due(&name) {
                            due.push_back(name.clone());
                        }
                        answers.extend(addresses.map(|addresses| (name, addresses)));
                        next = results.try_recv().ok();
                    }
                }
                () = self.wanted_or_due(retries) => {
                    failed.clear();
                    due = begun.sort(self.due(), &self.names.borrow().used);
                }
            }
        }
    }

    /// Waits until names are to be looked up; if it `retries`, at most until those that could not be resolved are due again.
    async fn wanted_or_due(&self, retries: bool) {
        tokio::select! {
            () = self.wanted.notified() => {}
            () = tokio::time::sleep(RETRY), if retries => {}
        }
    }

    /// Looks a name up once and returns the answer.
    ///
    /// # Errors
    /// See [`resolve::lookup`].
    pub(super) async fn look_up_once(name: &str) -> io::Result<Vec<IpAddr>> {
        resolve::lookup(name).await
    }

    fn due(&self) -> Vec<String> {
        let names = self.names.borrow();
        names.used.iter().filter(|name| names.needs_lookup(name)).cloned().collect()
    }

    fn is_due(&self, name: &str) -> bool {
        let names = self.names.borrow();
        names.used.contains(name) && names.needs_lookup(name)
    }

    /// Records and reports the resolver's answer for a name.
    fn judge(&self, name: &str, result: io::Result<Vec<IpAddr>>) -> Option<Vec<IpAddr>> {
        let mut names = self.names.borrow_mut();
        if !names.used.contains(name) {
            return None;
        }
        match result {
            Ok(addresses) => {
                names.troubled.end(name, format_args!("{name} has an address now"));
                names.known.insert(name.to_owned());
                Some(addresses)
            }
            Err(error) => {
                names.stale.insert(name.to_owned());
                let meanwhile = if names.known.contains(name) {
                    "its servers keep the address they have"
                } else {
                    "its servers are not used"
                };
                names.troubled.begin(
                    name.to_owned(),
                    format_args!(
                        "{name} cannot be resolved, {meanwhile} until it can: {}",
                        SystemReason(&error)
                    ),
                );
                None
            }
        }
    }
}

/// When each name was last looked up: there may be more names without an answer than lookups at a time, and none of them may
/// keep another one waiting for ever.
#[derive(Default)]
struct LookupOrder {
    last: HashMap<String, u64>,
    count: u64,
}

impl LookupOrder {
    fn note(&mut self, name: &str) {
        self.count += 1;
        self.last.insert(name.to_owned(), self.count);
    }

    /// Those that were not looked up for the longest time come first. Forgets names that are not `used`, but none whose lookup is
    /// in progress.
    fn sort(&mut self, mut names: Vec<String>, used: &BTreeSet<String>) -> VecDeque<String> {
        self.last.retain(|name, _| used.contains(name));
        names.sort_by_key(|name| self.last.get(name).copied());
        names.into()
    }
}

/// Looks names up while the resolver can still be reached, which may not be so in a chroot jail. All at once, or an
/// unreachable DNS server would delay the start by one timeout per name; so no process may be forked after this.
/// `failed` is called for each name without an address.
pub(super) fn look_up_now(names: &BTreeSet<String>, failed: impl Fn(&str, &io::Error)) -> Resolved {
    let mut resolved = Resolved::new();
    let names: Vec<&String> = names.iter().collect();
    for names in names.chunks(LOOKUPS) {
        let mut note = |name: &String, found: io::Result<_>| match found {
            Ok(addresses) => _ = resolved.insert(name.clone(), addresses),
            Err(error) => failed(name, &error),
        };
        thread::scope(|scope| {
            let start = |name| thread::Builder::new().spawn_scoped(scope, move || resolve::lookup_now(name));
            let lookups: Vec<_> = names.iter().map(|name| (*name, start(*name))).collect();
            for (name, lookup) in lookups {
                let found =
                    lookup.map(|lookup| lookup.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into())));
                note(name, found.unwrap_or_else(|_| resolve::lookup_now(name)));
            }
        });
    }
    resolved
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;

    #[test]
    fn who_was_not_looked_up_for_long_is_next() {
        let names = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let used = |text: &str| names(text).into_iter().collect::<BTreeSet<_>>();
        let (mut order, all) = (LookupOrder::default(), used("a b c z"));
        ["b", "a"].into_iter().for_each(|name| order.note(name));
        assert_eq!(order.sort(names("a b c z"), &all), names("c z b a"));
        order.note("c");
        assert_eq!(order.sort(names("a b c"), &all), names("b a c"));
        assert_eq!(order.last.len(), 3);
        // The lookup of the others is in progress: when it fails, they are behind one that was never looked up.
        order.sort(names("z"), &all);
        assert_eq!(order.sort(names("a b c z"), &all), names("z b a c"));
        // A name that is not used meanwhile is new again.
        order.sort(names("a"), &used("a"));
        assert_eq!(order.sort(names("a b"), &all), names("b a"));
    }

    fn names(count: usize) -> BTreeSet<String> {
        (0..count).map(|n| format!("h{n}.example.com")).collect()
    }

    /// Looks names up until `found` has them all.
    async fn look_up_all(
        dns: &Dns,
        count: usize,
        lookup: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Copy + Send + 'static,
        found: impl Fn(&[FoundName]),
    ) {
        dns.look_up(Lookups { names: Arc::new(names(count)), again: BTreeSet::new() });
        let (sum, all) = (Cell::new(0), Notify::new());
        let note = |some: Vec<FoundName>| {
            found(&some);
            sum.set(sum.get() + some.len());
            if sum.get() == count {
                all.notify_one();
            }
        };
        tokio::select! {
            () = dns.look_up_with(lookup, note) => {}
            () = all.notified() => {}
        }
    }

    const FOUND: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    /// To go through all names for each answer takes minutes.
    #[tokio::test]
    async fn thousands_of_names_are_looked_up_some_at_a_time() {
        static RUNNING: AtomicUsize = AtomicUsize::new(0);
        static MOST: AtomicUsize = AtomicUsize::new(0);
        let dns = Dns::new(&Resolved::new());
        let lookup = |_: &str| {
            MOST.fetch_max(RUNNING.fetch_add(1, SeqCst) + 1, SeqCst);
            RUNNING.fetch_sub(1, SeqCst);
            Ok(vec![FOUND])
        };
        look_up_all(&dns, 60_000, lookup, |_| {}).await;
        assert!((1..=LOOKUPS_WHILE_SERVING).contains(&MOST.load(SeqCst)));
        assert_eq!(dns.due(), Vec::<String>::new());
    }

    /// With thousands of servers it takes a while to put an address in force, and no less than to do so with all that came
    /// meanwhile.
    #[tokio::test]
    async fn what_was_found_meanwhile_is_passed_on_together() {
        const COUNT: usize = LOOKUPS_WHILE_SERVING;
        static ENDED: AtomicUsize = AtomicUsize::new(0);
        let lookup = |_: &str| {
            ENDED.fetch_add(1, SeqCst);
            Ok(vec![FOUND])
        };
        let calls = Cell::new(0);
        look_up_all(&Dns::new(&Resolved::new()), COUNT, lookup, |_| {
            calls.set(calls.get() + 1);
            while ENDED.load(SeqCst) < COUNT {
                thread::yield_now();
            }
        })
        .await;
        // Some threads may have been about to hand over their answers.
        assert!(calls.get() <= COUNT / 8, "{} calls", calls.get());
    }

    #[tokio::test]
    async fn no_name_waits_for_one_that_is_slow() {
        static OTHERS: AtomicUsize = AtomicUsize::new(0);
        let lookup = |name: &str| {
            while name == "h7.example.com" && OTHERS.load(SeqCst) < 99 {
                thread::yield_now();
            }
            Ok(vec![FOUND])
        };
        look_up_all(&Dns::new(&Resolved::new()), 100, lookup, |some| {
            OTHERS.fetch_add(some.len(), SeqCst);
        })
        .await;
        assert_eq!(OTHERS.load(SeqCst), 100);
    }
}
