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

/// The marks on all servers. It outlives the snapshots.
#[derive(Debug, Default)]
pub struct RuledOutTable {
    marks: Vec<Arc<Marks>>,
    /// The number of the snapshot in force. Only searches of that one rule servers out: others know outdated limits.
    in_force: Arc<AtomicU64>,
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
        let snapshot = self.in_force.fetch_add(1, SeqCst) + 1;
        // Pairs with the one in `RuledOut::rule_out`: a search of the snapshot before sees the new number, or its mark is found.
        fence(SeqCst);
        let view = RuledOut {
            marks: self.marks.clone().into_boxed_slice(),
            in_force: Arc::clone(&self.in_force),
            snapshot,
            until: AtomicU64::new(Millis::MAX),
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
        // Pairs with the one in `RuledOut::rule_out`.
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
    in_force: Arc<AtomicU64>,
    /// Its number.
    snapshot: u64,
    /// The first time at which a server that they have ruled out may meet a criterion by itself. Searches of another snapshot,
    /// which may have fewer servers, do not touch it.
    until: AtomicU64,
}

impl RuledOut {
    fn is_in_force(&self) -> bool {
        self.in_force.load(Acquire) == self.snapshot
    }

    fn clear(&self) {
        for marks in &self.marks {
            marks.words.iter().for_each(|word| word.store(0, SeqCst));
        }
    }

    /// Who is known not to meet the criterion, of the [`PER_WORD`] servers from slot `at * PER_WORD` on: a bit each.
    pub fn word(&self, criterion: Criterion, at: usize) -> u32 {
        let Some(marks) = self.marks.get(at) else { return 0 };
        // The lower half. Read first: with what a search of a later snapshot has written, its number is seen too.
        let word = marks.words[criterion as usize].load(Acquire) as u32;
        if self.is_in_force() { word } else { 0 }
    }

    /// Before a search at `now`: nobody is ruled out whose time is over.
    pub fn expire(&self, now: Millis) {
        // Acquire: who finds the time cleared finds the marks cleared too.
        let until = self.until.load(Acquire);
        if now < until || !self.is_in_force() {
            return;
        }
        // Every search does it that finds the time over, since none waits for another.
        self.clear();
        if self.until.compare_exchange(until, Millis::MAX, AcqRel, Relaxed).is_ok() {
            // Who was ruled out in between, until later than `until`, has lost its time.
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
        // Pairs with those in `OwnMarks::clear` and `RuledOutTable::begin`.
        fence(SeqCst);
        let verdict = if self.is_in_force() { judge() } else { UnmetCriteria::default() };
        if let Some(until) = verdict.until {
            // After the mark: whoever takes this time as over finds the mark or what becomes of it.
            self.until.fetch_min(until, AcqRel);
        }
        for criterion in Criterion::ALL {
            let out = if verdict.meets(criterion) { 0 } else { bit };
            let judged = |word| (word & mark != 0).then_some((word & !mark & !bit) | out);
            // It fails if the server has changed meanwhile.
            _ = marks.words[criterion as usize].fetch_update(SeqCst, SeqCst, judged);
        }
        marks.is_judging.store(false, Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn until(time: Millis) -> impl Fn() -> UnmetCriteria {
        move || UnmetCriteria::new(|criterion| criterion == Criterion::Up, Some(time))
    }

    #[test]
    fn a_search_of_a_smaller_snapshot_takes_no_time_of_a_larger_one() {
        const SLOTS: usize = PER_WORD;
        let mut table = RuledOutTable::default();
        let before = table.begin(SLOTS);
        before.rule_out(0, until(500));
        let now = table.begin(SLOTS + 1);
        let word = |criterion| (now.word(criterion, 0), now.word(criterion, 1));
        assert_eq!(word(Criterion::Working), (0, 0));
        now.rule_out(SLOTS, until(1000));
        assert_eq!((word(Criterion::Working), word(Criterion::Up)), ((0, 1), (0, 0)));
        // A client that began to connect before.
        before.expire(2000);
        assert_eq!(before.word(Criterion::Working, 0), 0);
        before.rule_out(0, until(3000));
        assert_eq!(word(Criterion::Working), (0, 1), "only searches of the one in force rule out");
        now.expire(999);
        assert_eq!(word(Criterion::Working), (0, 1));
        now.expire(1000);
        assert_eq!(word(Criterion::Working), (0, 0));
    }

    #[test]
    fn a_later_judgement_replaces_an_earlier_one() {
        let mut table = RuledOutTable::default();
        let view = table.begin(1);
        view.rule_out(0, until(1000));
        view.rule_out(0, || UnmetCriteria::new(|criterion| criterion != Criterion::Up, None));
        assert_eq!((view.word(Criterion::Up, 0), view.word(Criterion::Working, 0)), (1, 0));
    }
}
