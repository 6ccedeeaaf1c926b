//! Looking for the clients of late, while clients come and go.

use slab::Slab;

use super::AffinityTable;
use crate::core::Millis;
use crate::core::number_set::NumberSet;

/// A search for the clients that connected at some time or later.
#[derive(Debug)]
struct Scan {
    since: Millis,
    /// The next client to look at; all that are newer have been.
    next: Option<u32>,
    found: NumberSet,
}

/// The searches that are in progress.
#[derive(Debug, Default)]
pub(super) struct Scans(Slab<Scan>);

impl Scans {
    /// Client `id` connects: it is one of the clients of late, wherever a search has come.
    pub(super) fn saw(&mut self, id: usize) {
        self.0.iter_mut().for_each(|(_, scan)| scan.found.insert(id));
    }

    /// Client `id` leaves its place in the order, where `older` came behind it.
    pub(super) fn leaves(&mut self, id: usize, older: Option<u32>) {
        let here = |scan: &Scan| scan.next.is_some_and(|next| next as usize == id);
        self.0.iter_mut().filter(|(_, scan)| here(scan)).for_each(|(_, scan)| scan.next = older);
    }
}

/// A search that was begun and is not ended.
#[derive(Debug)]
pub struct ScanId(usize);

impl AffinityTable {
    /// Begins to look for the clients that connected at `since` or later. To be ended by [`AffinityTable::end_scan`].
    pub fn begin_scan(&mut self, since: Millis) -> ScanId {
        ScanId(self.scans.0.insert(Scan { since, next: self.newest, found: NumberSet::default() }))
    }

    /// Looks at `most` further clients, from the one seen last on. False when there are no more to look at.
    pub fn scan(&mut self, id: &ScanId, most: usize) -> bool {
        let Some(scan) = self.scans.0.get_mut(id.0) else { return false };
        for _ in 0..most {
            let entry = scan.next.and_then(|next| self.entries.get(next as usize));
            let Some(entry) = entry.filter(|entry| entry.record.seen >= scan.since) else {
                scan.next = None;
                return false;
            };
            scan.found.insert(entry.record.id);
            scan.next = entry.older;
        }
        true
    }

    /// Whether no search is in progress.
    #[cfg(test)]
    pub(crate) fn has_no_scans(&self) -> bool {
        self.scans.0.is_empty()
    }

    /// Ends a search: the numbers of the clients that it found.
    pub fn end_scan(&mut self, id: &ScanId) -> NumberSet {
        self.scans.0.try_remove(id.0).map(|scan| scan.found).unwrap_or_default()
    }
}
