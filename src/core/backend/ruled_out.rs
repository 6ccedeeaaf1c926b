//! Which servers are known not to meet a criterion, so that searches skip them without a look.
//!
//! A search that finds a server full, down or blacklisted rules it out, for itself and all later searches, until the server changes
//! or the time comes at which it may meet the criterion by itself. So a client costs the same however many servers are
//! ruled out, and each server is looked at once for each of its changes.
//!
//! Nobody waits for anybody, and no change is missed. A search marks the server as being judged, judges it, and rules it
//! out only if the mark is still there; a change of the server is made first and takes away the mark. Whichever comes first in
//! the order of the two fences: the search sees the change, or the change finds the mark.

use crate::core::Millis;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst},
    fence,
};

/// What a search can ask of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Criterion {
    /// Its check has not found it down.
    Up,
    /// Moreover it is not removed, and not blacklisted.
    Working,
    /// Moreover a client that it had before would not exceed its limits.
    Place,
    /// Moreover a new client would not, and no check has still to find whether it is up.
    PlaceForNew,
    /// The same of a server whose check has no result yet.
    PlaceUnproven,
    /// It is blacklisted, on trial or in slow start: it changes with time.
    Transition,
}

impl Criterion {
    const ALL: [Criterion; 6] = [
        Criterion::Up,
        Criterion::Working,
        Criterion::Place,
        Criterion::PlaceForNew,
        Criterion::PlaceUnproven,
        Criterion::Transition,
    ];

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// Which criteria a server does not meet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UnmetCriteria {
    bits: u8,
    /// When this may be different although the server has not changed.
    until: Option<Millis>,
}

impl UnmetCriteria {
    /// That it meets the criteria for which `meets` is true, until that time if it does not change before.
    pub fn new(meets: impl Fn(Criterion) -> bool, until: Option<Millis>) -> Self {
        let unmet = Criterion::ALL.into_iter().filter(|criterion| !meets(*criterion));
        UnmetCriteria { bits: unmet.fold(0, |all, criterion| all | criterion.bit()), until }
    }

    /// Whether it meets the criterion.
    fn meets(self, criterion: Criterion) -> bool {
        self.bits & criterion.bit() == 0
    }
}

/// How many servers have their marks in one word for each criterion.
pub const PER_WORD: usize = 32;

/// The marks on [`PER_WORD`] servers: for each criterion a word, which says in its lower half who is ruled out, and in its upper
/// half who is being judged. In a cache line of its own, since searches of all threads read it.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Marks {
    words: [AtomicU64; Criterion::ALL.len()],
    /// One search at a time judges; others leave it to a later one.
    is_judging: AtomicBool,
}

/// What concerns all servers.
#[derive(Debug)]
struct Validity {
    /// The number of the snapshot in force. Only searches of that one rule servers out: others know outdated limits.
    snapshot: AtomicU64,
    /// The first time at which a server that is ruled out may meet a criterion by itself.
    until: AtomicU64,
}

/// The marks on all servers. It outlives the snapshots.
#[derive(Debug)]
pub struct RuledOutTable {
    marks: Vec<Arc<Marks>>,
    validity: Arc<Validity>,
}

impl Default for RuledOutTable {
    fn default() -> Self {
        let validity = Validity { snapshot: AtomicU64::new(0), until: AtomicU64::new(Millis::MAX) };
        RuledOutTable { marks: Vec::new(), validity: Arc::new(validity) }
    }
}

impl RuledOutTable {
    /// The marks on the server of a slot.
    pub fn server(&mut self, slot: usize) -> OwnMarks {
        self.grow(slot / PER_WORD + 1);
        OwnMarks { marks: Arc::clone(&self.marks[slot / PER_WORD]), bit: 1 << (slot % PER_WORD) }
    }

    fn grow(&mut self, words: usize) {
        self.marks.resize_with(self.marks.len().max(words), Arc::default);
    }

    /// Begins anew, for a snapshot of so many slots that is about to be in force.
    pub fn begin(&mut self, slots: usize) -> RuledOut {
        self.grow(slots.div_ceil(PER_WORD));
        let snapshot = self.validity.snapshot.fetch_add(1, SeqCst) + 1;
        // Pairs with the one in `RuledOut::judge`: a search of the snapshot before sees the new number, or its mark is found.
        fence(SeqCst);
        let view = RuledOut {
            marks: self.marks.clone().into_boxed_slice(),
            validity: Arc::clone(&self.validity),
            snapshot,
        };
        view.clear();
        view
    }
}

/// The marks on one server, for whoever changes it.
#[derive(Debug, Default)]
pub struct OwnMarks {
    marks: Arc<Marks>,
    /// Its bit in the lower half of each word.
    bit: u64,
}

impl OwnMarks {
    /// The server has changed: it may meet any criterion.
    pub(super) fn clear(&self) {
        // Pairs with the one in `RuledOut::judge`.
        fence(SeqCst);
        let mask = self.bit | (self.bit << PER_WORD);
        for word in &self.marks.words {
            // Read first: this runs for every connection, and the cache line is shared between cores.
            if word.load(Relaxed) & mask != 0 {
                word.fetch_and(!mask, SeqCst);
            }
        }
    }
}

/// The marks as the searches of one snapshot use them.
#[derive(Debug)]
pub struct RuledOut {
    marks: Box<[Arc<Marks>]>,
    validity: Arc<Validity>,
    /// Its number.
    snapshot: u64,
}

impl RuledOut {
    fn is_in_force(&self) -> bool {
        self.validity.snapshot.load(Relaxed) == self.snapshot
    }

    fn clear(&self) {
        for marks in &self.marks {
            marks.words.iter().for_each(|word| word.store(0, SeqCst));
        }
    }

    /// Who is known not to meet the criterion, of the [`PER_WORD`] servers from slot `at * PER_WORD` on: a bit each.
    pub fn word(&self, criterion: Criterion, at: usize) -> u32 {
        let marks = self.marks.get(at).filter(|_| self.is_in_force());
        // The lower half.
        marks.map_or(0, |marks| marks.words[criterion as usize].load(Relaxed) as u32)
    }

    /// Before a search at `now`: nobody is ruled out whose time is over.
    pub fn expire(&self, now: Millis) {
        let until = self.validity.until.load(Relaxed);
        // Of several searches the first one does it.
        if now >= until && self.validity.until.compare_exchange(until, Millis::MAX, AcqRel, Relaxed).is_ok() {
            self.clear();
        }
    }

    /// A server was found not to meet some criterion: it is ruled out, if a second `judge` finds so too.
    pub fn rule_out(&self, slot: usize, judge: impl Fn() -> UnmetCriteria) {
        let Some(marks) = self.marks.get(slot / PER_WORD) else { return };
        if marks.is_judging.swap(true, Acquire) {
            return;
        }
        let bit = 1 << (slot % PER_WORD);
        let mark = bit << PER_WORD;
        for word in &marks.words {
            word.fetch_or(mark, SeqCst);
        }
        // Pairs with the one in `OwnMarks::clear`.
        fence(SeqCst);
        let verdict = if self.is_in_force() { judge() } else { UnmetCriteria::default() };
        if let Some(until) = verdict.until {
            // After the mark: whoever takes this time as over finds the mark or what becomes of it.
            self.validity.until.fetch_min(until, AcqRel);
        }
        for criterion in Criterion::ALL {
            let out = if verdict.meets(criterion) { 0 } else { bit };
            let judged = |word| (word & mark != 0).then_some((word & !mark) | out);
            // It fails if the server has changed meanwhile.
            _ = marks.words[criterion as usize].fetch_update(SeqCst, SeqCst, judged);
        }
        marks.is_judging.store(false, Release);
    }
}
