//! Looking for the clients of late, while clients come and go.

use slab::Slab;

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

impl Scans {
    /// Begins a search from the client `newest` on.
    pub(super) fn begin(&mut self, since: Millis, newest: Option<u32>) -> ScanId {
        ScanId(self.0.insert(Scan { since, next: newest, found: NumberSet::default() }))
    }

    /// Goes on by `most` clients; `of` tells when a client was seen and which one is the next older. False at the end.
    pub(super) fn step(
        &mut self,
        id: &ScanId,
        most: usize,
        of: impl Fn(u32) -> Option<(Millis, Option<u32>)>,
    ) -> bool {
        let Some(scan) = self.0.get_mut(id.0) else { return false };
        for _ in 0..most {
            let here = scan.next.and_then(|client| Some((client, of(client)?)));
            match here {
                Some((client, (seen, older))) if seen >= scan.since => {
                    scan.found.insert(client as usize);
                    scan.next = older;
                }
                _ => {
                    scan.next = None;
                    return false;
                }
            }
        }
        true
    }

    /// Ends a search: the numbers of the clients that it found.
    pub(super) fn end(&mut self, id: &ScanId) -> NumberSet {
        self.0.try_remove(id.0).map(|scan| scan.found).unwrap_or_default()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
