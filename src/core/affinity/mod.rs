//! Which server each client had: a table that drops the least recently seen client first.
//!
//! It may hold millions of clients, and every connection takes its one lock. So no operation takes longer as the table
//! grows: it grows in small steps, and a scan of all clients examines a bounded number of records per call.

mod chunks;
mod client;
mod index;
mod scan;

use std::hash::{BuildHasher, RandomState};

use super::Millis;
use super::number_set::NumberSet;
use chunks::Chunks;
use index::HashIndex;
use scan::Scans;

pub use client::{Client, ClientMask};
pub use scan::ScanId;

/// What is recorded about a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its number in replies and on the status page; fixed while the client is in the table.
    pub id: usize,
    /// The regular server it last had.
    pub server: Option<usize>,
    /// When it last connected.
    pub seen: Millis,
    /// How often it connected.
    pub connects: u64,
    /// Bytes sent to it.
    pub sx: u64,
    /// Bytes received from it.
    pub rx: u64,
}

/// A client and its place in the order of last connections.
#[derive(Debug)]
struct AffinityEntry {
    client: Client,
    record: Record,
    /// The era of the slot's server that is meant, see [`AffinityTable::forget`].
    era: u32,
    newer: Option<u32>,
    older: Option<u32>,
}

/// The table of clients. A client's number is its place in it.
#[derive(Debug)]
pub struct AffinityTable {
    max: usize,
    entries: Chunks<AffinityEntry>,
    index: HashIndex,
    hasher: RandomState,
    newest: Option<u32>,
    oldest: Option<u32>,
    scans: Scans,
    /// How often [`AffinityTable::forget`] was called for each slot.
    eras: Vec<u32>,
}

impl AffinityTable {
    /// A table for at most `max` clients (at least one).
    pub fn new(max: usize) -> Self {
        AffinityTable {
            max: max.max(1),
            entries: Chunks::new(),
            index: HashIndex::new(),
            hasher: RandomState::new(),
            newest: None,
            oldest: None,
            scans: Scans::default(),
            eras: Vec::new(),
        }
    }

    /// Makes room for `max` clients; the table never shrinks.
    pub fn grow(&mut self, max: usize) {
        self.max = self.max.max(max);
    }

    /// How many clients there is room for.
    pub fn max(&self) -> usize {
        self.max
    }

    /// The number of clients; all their numbers are lower.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Records that a client connects at `now`, which never decreases. Returns its number and the server it had, unless
    /// its last connection was longer than `tracking` ago (0: no limit).
    pub fn record_connect(
        &mut self,
        client: Client,
        now: Millis,
        tracking: Millis,
    ) -> (usize, Option<usize>) {
        let hash = self.hasher.hash_one(client) as u32;
        if let Some(id) = self.index.find(hash, |id| self.entries[id].client == client) {
            let current = self.current(&self.entries[id]);
            let record = &mut self.entries[id].record;
            let expired = tracking != 0 && now.saturating_sub(record.seen) > tracking;
            if expired || !current {
                record.server = None;
            }
            record.seen = now;
            record.connects += 1;
            let server = record.server;
            self.unlink(id);
            self.link_newest(id);
            return (id, server);
        }
        let record = |id| Record { id, server: None, seen: now, connects: 1, sx: 0, rx: 0 };
        let id = match self.oldest.filter(|_| self.len() >= self.max) {
            Some(oldest) => {
                let id = oldest as usize;
                self.unlink(id);
                self.index.rehash(id, hash);
                self.entries[id] =
                    AffinityEntry { client, record: record(id), era: 0, newer: None, older: None };
                id
            }
            None => {
                let id = self.index.append(hash);
                self.entries.push(AffinityEntry {
                    client,
                    record: record(id),
                    era: 0,
                    newer: None,
                    older: None,
                });
                id
            }
        };
        self.link_newest(id);
        (id, None)
    }

    /// Records the server of the client whose number is or was `id`. Ignored if the client is no longer in the table.
    pub fn remember(&mut self, id: usize, client: Client, server: usize) {
        let era = self.era(server);
        if let Some(entry) = self.entries.get_mut(id).filter(|entry| entry.client == client) {
            (entry.record.server, entry.era) = (Some(server), era);
        }
    }

    /// The server of this slot is removed: no client is sent back to it, nor to another server that gets the slot
    /// later.
    pub fn forget(&mut self, server: usize) {
        if self.eras.len() <= server {
            self.eras.resize(server + 1, 0);
        }
        self.eras[server] = self.eras[server].wrapping_add(1);
    }

    fn era(&self, server: usize) -> u32 {
        self.eras.get(server).copied().unwrap_or(0)
    }

    /// Whether the server of an entry is still the one in its slot.
    fn current(&self, entry: &AffinityEntry) -> bool {
        entry.record.server.is_none_or(|server| entry.era == self.era(server))
    }

    fn record(&self, entry: &AffinityEntry) -> Record {
        let server = entry.record.server.filter(|_| self.current(entry));
        Record { server, ..entry.record.clone() }
    }

    /// Adds bytes sent to (`sx`) and received from (`rx`) the client whose number is or was `id`. Ignored if the client
    /// is no longer in the table.
    pub fn add_traffic(&mut self, id: usize, client: Client, sx: u64, rx: u64) {
        if let Some(entry) = self.entries.get_mut(id).filter(|entry| entry.client == client) {
            entry.record.sx += sx;
            entry.record.rx += rx;
        }
    }

    /// The record of a client. A lookup does not count as a connection.
    pub fn look_up(&self, client: Client) -> Option<Record> {
        let hash = self.hasher.hash_one(client) as u32;
        let id = self.index.find(hash, |id| self.entries[id].client == client)?;
        Some(self.record(&self.entries[id]))
    }

    /// The client with this number.
    pub fn get(&self, id: usize) -> Option<(Client, Record)> {
        self.entries.get(id).map(|entry| (entry.client, self.record(entry)))
    }

    /// Begins a scan for the clients that connected at `since` or later. [`AffinityTable::end_scan`] must end it.
    pub fn begin_scan(&mut self, since: Millis) -> ScanId {
        self.scans.begin(since, self.newest)
    }

    /// Examines up to `most` more clients, most recent first. False when no more are left.
    pub fn scan(&mut self, id: &ScanId, most: usize) -> bool {
        let entries = &self.entries;
        self.scans.step(id, most, |client| entries.get(client as usize).map(|e| (e.record.seen, e.older)))
    }

    /// Ends a scan and returns the numbers of the clients found.
    pub fn end_scan(&mut self, id: &ScanId) -> NumberSet {
        self.scans.end(id)
    }

    /// Whether no scan is in progress.
    #[cfg(test)]
    pub(crate) fn has_no_scans(&self) -> bool {
        self.scans.is_empty()
    }

    fn link_newest(&mut self, id: usize) {
        // The number fits: clients_max is bounded.
        let place = Some(id as u32);
        self.scans.saw(id);
        let before = std::mem::replace(&mut self.newest, place);
        match before {
            Some(before) => self.entries[before as usize].newer = place,
            None => self.oldest = place,
        }
        let entry = &mut self.entries[id];
        (entry.newer, entry.older) = (None, before);
    }

    fn unlink(&mut self, id: usize) {
        let AffinityEntry { newer, older, .. } = self.entries[id];
        self.scans.leaves(id, older);
        match newer {
            Some(newer) => self.entries[newer as usize].older = older,
            None => self.newest = older,
        }
        match older {
            Some(older) => self.entries[older as usize].newer = newer,
            None => self.oldest = newer,
        }
    }
}

#[cfg(test)]
mod tests;
