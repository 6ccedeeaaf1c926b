//! Walks over the servers of a running pen, some at a time. A walk holds no snapshot between its steps: each step goes on
//! in the one that is in force then, so that however many readers wait, none of them keeps an old one.

use std::iter;
use std::sync::Arc;

use crate::core::snapshot::{Backend, Snapshot};

/// Which servers a walk visits, and in which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WalkOrder {
    /// The slots by number, then the emergency and the abuse server.
    Present,
    /// The same, and then those that were removed.
    All,
    /// Those with a number. One that was removed stands before the one that has its slot now.
    ByNumber,
}

/// The place of a server in a walk. Of the servers that a slot has had, the number of the counters is the higher the
/// later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum WalkPlace {
    Slot(usize, u32),
    Emergency,
    Abuse,
    Removed(usize, u32),
}

/// A walk over the servers. A server that stays is visited once, whatever changes meanwhile.
#[derive(Debug)]
pub struct ServerWalk {
    order: WalkOrder,
    /// The server that was visited last.
    last: Option<WalkPlace>,
}

impl ServerWalk {
    /// A walk that has not begun.
    pub fn new(order: WalkOrder) -> Self {
        ServerWalk { order, last: None }
    }

    /// The next `most` servers; fewer at the end, where none are left.
    pub fn step(&mut self, snapshot: &Snapshot, most: usize) -> Vec<Arc<Backend>> {
        let slots = || self.slots(snapshot);
        let special = || self.special(snapshot);
        let found: Vec<(WalkPlace, &Arc<Backend>)> = match self.order {
            WalkOrder::Present => slots().chain(special()).take(most).collect(),
            WalkOrder::All => slots()
                .chain(special())
                .chain(self.removed(snapshot, WalkPlace::Removed))
                .take(most)
                .collect(),
            WalkOrder::ByNumber => {
                merged(self.removed(snapshot, WalkPlace::Slot), slots()).take(most).collect()
            }
        };
        self.last = found.last().map(|(place, _)| *place).or(self.last);
        found.into_iter().map(|(_, backend)| Arc::clone(backend)).collect()
    }

    /// The slots that are used, after the last place.
    fn slots<'a>(&self, snapshot: &'a Snapshot) -> impl Iterator<Item = (WalkPlace, &'a Arc<Backend>)> {
        let last = self.last;
        let begin = match last {
            None => 0,
            // With removed servers between them, the slot of the last one may have one more.
            Some(WalkPlace::Slot(n, _)) if self.order == WalkOrder::ByNumber => n,
            Some(WalkPlace::Slot(n, _)) => n + 1,
            Some(_) => usize::MAX,
        };
        let slots = snapshot.backends.get(begin..).unwrap_or_default().iter().zip(begin..);
        let places = slots.filter_map(|(backend, n)| {
            let backend = backend.as_ref()?;
            Some((WalkPlace::Slot(n, backend.stats.id()), backend))
        });
        places.filter(move |(place, _)| Some(*place) > last)
    }

    /// The emergency and the abuse server, as far as they come after the last place.
    fn special<'a>(&self, snapshot: &'a Snapshot) -> impl Iterator<Item = (WalkPlace, &'a Arc<Backend>)> {
        let last = self.last;
        let emergency = snapshot.emergency.iter().map(|backend| (WalkPlace::Emergency, backend));
        let abuse = snapshot.abuse.iter().map(|backend| (WalkPlace::Abuse, backend));
        emergency.chain(abuse).filter(move |(place, _)| Some(*place) > last)
    }

    /// The removed servers that still have connections, after the last place; each has the one that `place` makes of its
    /// slot and the number of its counters.
    fn removed<'a>(
        &self,
        snapshot: &'a Snapshot,
        place: fn(usize, u32) -> WalkPlace,
    ) -> impl Iterator<Item = (WalkPlace, &'a Arc<Backend>)> {
        let place = move |backend: &Backend| {
            let (slot, id) = backend.succession();
            place(slot, id)
        };
        let begin = snapshot.removed.partition_point(|backend| Some(place(backend)) <= self.last);
        let rest = snapshot.removed.get(begin..).unwrap_or_default().iter();
        rest.filter(|backend| backend.stats.connections() > 0).map(move |backend| (place(backend), backend))
    }
}

/// Both, in the order of their places.
fn merged<'a>(
    some: impl Iterator<Item = (WalkPlace, &'a Arc<Backend>)>,
    others: impl Iterator<Item = (WalkPlace, &'a Arc<Backend>)>,
) -> impl Iterator<Item = (WalkPlace, &'a Arc<Backend>)> {
    let (mut some, mut others) = (some.peekable(), others.peekable());
    iter::from_fn(move || match (some.peek(), others.peek()) {
        (Some((one, _)), Some((other, _))) if other < one => others.next(),
        (Some(_), _) => some.next(),
        (None, _) => others.next(),
    })
}
