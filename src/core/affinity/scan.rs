//! Scans for recent clients while clients come and go.

use slab::Slab;

use crate::core::Millis;
use crate::core::number_set::NumberSet;

/// A scan for the clients that connected at or after a given time.
#[derive(Debug)]
struct Scan {
    since: Millis,
    /// The next client to examine; all more recent ones have been.
    next: Option<u32>,
    found: NumberSet,
}

/// The scans in progress.
#[derive(Debug, Default)]
pub(super) struct Scans(Slab<Scan>);

impl Scans {
    /// Client `id` connects, so it belongs in the result of every scan, whatever its position.
    pub(super) fn saw(&mut self, id: usize) {
        self.0.iter_mut().for_each(|(_, scan)| scan.found.insert(id));
    }

    /// Client `id` leaves its place in the order; `older` is the client after it.
    pub(super) fn leaves(&mut self, id: usize, older: Option<u32>) {
        let here = |scan: &Scan| scan.next.is_some_and(|next| next as usize == id);
        self.0.iter_mut().filter(|(_, scan)| here(scan)).for_each(|(_, scan)| scan.next = older);
    }
}

/// A scan that has begun and has not ended.
#[derive(Debug)]
pub struct ScanId(usize);

impl Scans {
    /// Begins a scan at the client `newest`.
    pub(super) fn begin(&mut self, since: Millis, newest: Option<u32>) -> ScanId {
        ScanId(self.0.insert(Scan { since, next: newest, found: NumberSet::default() }))
    }

    /// Advances by `most` clients; `of` returns when a client was seen and the next older client. False at the end.
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

    /// Ends a scan and returns the numbers of the clients found.
    pub(super) fn end(&mut self, id: &ScanId) -> NumberSet {
        self.0.try_remove(id.0).map(|scan| scan.found).unwrap_or_default()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
