//! The live matcher of penlogd: finds the client that a web server's line belongs to.
//!
//! Among the last N entries of pen with the same server and request, a line gets the newest that no line has used; if
//! all were used, the newest. A line without an unused entry is held for a moment, since its entry may be on the way:
//! an entry goes to the line that has waited longest for it.

use std::time::Instant;

use crate::weblog::entry::LoggedClient;
use crate::weblog::key::RequestKey;
use crate::weblog::keyed_queue::KeyedQueue;

/// The maximum number of lines, and of their bytes, held at a time; beyond it, the oldest is released.
const HELD: (usize, usize) = (65_536, 32 << 20);

/// The maximum number of spare buffers, and the maximum size of one.
const SPARE: (usize, usize) = (4096, 2048);

/// The entries of pen and the lines that wait for one.
pub(super) struct Matcher {
    /// The number of recent entries that are matched.
    size: u64,
    /// The number of entries received so far.
    entries: u64,
    unused: KeyedQueue<(u64, LoggedClient)>,
    used: KeyedQueue<(u64, LoggedClient)>,
    held: KeyedQueue<HeldLine>,
    held_bytes: usize,
    /// Buffers of released lines, for reuse.
    spare: Vec<Vec<u8>>,
}

struct HeldLine {
    key: RequestKey,
    until: Instant,
    line: Vec<u8>,
}

impl Matcher {
    /// A matcher for the last `size` entries.
    pub(super) fn new(size: usize) -> Matcher {
        Matcher {
            size: size as u64,
            entries: 0,
            unused: KeyedQueue::default(),
            used: KeyedQueue::default(),
            held: KeyedQueue::default(),
            held_bytes: 0,
            spare: Vec::new(),
        }
    }

    /// Adds an entry of pen. If a line waits for it, `release` gets the line.
    pub(super) fn entry(
        &mut self,
        key: RequestKey,
        client: LoggedClient,
        release: impl FnOnce(&[u8], LoggedClient),
    ) {
        self.entries += 1;
        while self.unused.oldest().is_some_and(|&(number, _)| self.expired(number)) {
            self.unused.take_oldest();
        }
        match self.held.take_oldest_of(key) {
            Some(HeldLine { line, .. }) => {
                release(&line, client);
                self.recycle(line);
                self.remember(key, (self.entries, client));
            }
            None => self.unused.push(key, (self.entries, client)),
        }
    }

    /// The client of a web server's line, if there is an unused entry for it.
    pub(super) fn find(&mut self, key: RequestKey) -> Option<LoggedClient> {
        let entry = self.unused.take_newest_of(key)?;
        self.remember(key, entry);
        Some(entry.1)
    }

    /// The client of the newest entry for a line, used or not.
    pub(super) fn find_used(&self, key: RequestKey) -> Option<LoggedClient> {
        self.used.newest_of(key).filter(|&&(number, _)| !self.expired(number)).map(|&(_, client)| client)
    }

    /// Holds a line without an entry until `until`. These times never decrease. If too many lines are held, `release`
    /// gets the oldest, with the client of a used entry if there is one.
    pub(super) fn hold(
        &mut self,
        key: RequestKey,
        line: &[u8],
        until: Instant,
        mut release: impl FnMut(&[u8], Option<LoggedClient>),
    ) {
        let mut buffer = self.spare.pop().unwrap_or_default();
        buffer.extend_from_slice(line);
        self.held_bytes += line.len();
        self.held.push(key, HeldLine { key, until, line: buffer });
        while self.held.len() > HELD.0 || self.held_bytes > HELD.1 {
            self.release_one(&mut release);
        }
    }

    /// Passes the lines whose time is over at `now` to `release`, as [`Matcher::hold`] does.
    pub(super) fn release_due(&mut self, now: Instant, mut release: impl FnMut(&[u8], Option<LoggedClient>)) {
        while self.next_release().is_some_and(|until| until <= now) {
            self.release_one(&mut release);
        }
    }

    /// Passes every held line to `release`, as [`Matcher::hold`] does.
    pub(super) fn release_all(&mut self, mut release: impl FnMut(&[u8], Option<LoggedClient>)) {
        while !self.held.is_empty() {
            self.release_one(&mut release);
        }
    }

    /// When the next line is due for release.
    pub(super) fn next_release(&self) -> Option<Instant> {
        self.held.oldest().map(|held| held.until)
    }

    fn release_one(&mut self, mut release: impl FnMut(&[u8], Option<LoggedClient>)) {
        if let Some(HeldLine { key, line, .. }) = self.held.take_oldest() {
            release(&line, self.find_used(key));
            self.recycle(line);
        }
    }

    fn expired(&self, number: u64) -> bool {
        number + self.size <= self.entries
    }

    /// Stores a used entry, unless a newer one of its key is stored.
    fn remember(&mut self, key: RequestKey, entry: (u64, LoggedClient)) {
        let entry = match self.used.take_newest_of(key) {
            Some(other) if other.0 > entry.0 => other,
            _ => entry,
        };
        self.used.push(key, entry);
        // They are not in the order of their numbers: at twice the size, those that are too old are removed.
        if self.used.len() as u64 > 2 * self.size {
            for _ in 0..self.used.len() {
                if let Some((key, entry)) = self.used.take_oldest_with_key()
                    && !self.expired(entry.0)
                {
                    self.used.push(key, entry);
                }
            }
        }
    }

    fn recycle(&mut self, mut line: Vec<u8>) {
        self.held_bytes -= line.len();
        if self.spare.len() < SPARE.0 && line.capacity() <= SPARE.1 {
            line.clear();
            self.spare.push(line);
        }
    }
}

#[cfg(test)]
mod tests;
