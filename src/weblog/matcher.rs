//! Which client a web server's line belongs to: the live matcher of penlogd.
//!
//! Of the last N entries of pen with the same server and request, a line gets the newest that no line got before;
//! if every one was given out, the newest of all. A line that finds no unused entry is held for a moment, since its
//! entry may be on the way: an entry goes to the line that has waited longest for it.

use std::net::IpAddr;
use std::time::Instant;

use super::key::Key;
use super::keyed::KeyedQueue;

/// Most lines held at a time; beyond, the oldest waits no longer.
const HELD: usize = 65_536;

/// A client, as pen's entry gives it: `None` came over a Unix-domain socket.
type Client = Option<IpAddr>;

/// The entries of pen and the lines that wait for one.
pub struct Matcher {
    /// How many entries count.
    size: u64,
    /// How many entries ever came.
    entries: u64,
    unused: KeyedQueue<(u64, Client)>,
    used: KeyedQueue<(u64, Client)>,
    held: KeyedQueue<Held>,
    /// Buffers of lines that were released, to be used again.
    spare: Vec<Vec<u8>>,
}

struct Held {
    key: Key,
    until: Instant,
    line: Vec<u8>,
}

impl Matcher {
    /// A matcher that knows the last `size` entries.
    pub fn new(size: usize) -> Matcher {
        Matcher {
            size: size as u64,
            entries: 0,
            unused: KeyedQueue::default(),
            used: KeyedQueue::default(),
            held: KeyedQueue::default(),
            spare: Vec::new(),
        }
    }

    /// An entry of pen came. If a line waits for it, `release` gets the line.
    pub fn entry(&mut self, key: Key, client: Client, release: impl FnOnce(&[u8], Client)) {
        self.entries += 1;
        while self.unused.oldest().is_some_and(|&(number, _)| self.expired(number)) {
            self.unused.take_oldest();
        }
        match self.held.take_oldest_of(key) {
            Some(Held { line, .. }) => {
                release(&line, client);
                self.recycle(line);
                self.remember(key, (self.entries, client));
            }
            None => self.unused.push(key, (self.entries, client)),
        }
    }

    /// The client of a web server's line, if an entry for it has come that no line used.
    pub fn find(&mut self, key: Key) -> Option<Client> {
        let entry = self.unused.take_newest_of(key)?;
        self.remember(key, entry);
        Some(entry.1)
    }

    /// The client of the newest entry for a line, used or not.
    pub fn find_used(&self, key: Key) -> Option<Client> {
        self.used.newest_of(key).filter(|&&(number, _)| !self.expired(number)).map(|&(_, client)| client)
    }

    /// Holds a line for which nothing was found until `until`. These times never decrease. If too many are held,
    /// `release` gets the oldest, with the client of a used entry if there is one.
    pub fn hold(
        &mut self,
        key: Key,
        line: &[u8],
        until: Instant,
        release: impl FnMut(&[u8], Option<Client>),
    ) {
        let mut buffer = self.spare.pop().unwrap_or_default();
        buffer.extend_from_slice(line);
        self.held.push(key, Held { key, until, line: buffer });
        if self.held.len() > HELD {
            self.release_one(release);
        }
    }

    /// Gives the lines that have waited until `now` to `release`, as [`Matcher::hold`] does.
    pub fn release_due(&mut self, now: Instant, mut release: impl FnMut(&[u8], Option<Client>)) {
        while self.next_release().is_some_and(|until| until <= now) {
            self.release_one(&mut release);
        }
    }

    /// Gives every held line to `release`, as [`Matcher::hold`] does.
    pub fn release_all(&mut self, mut release: impl FnMut(&[u8], Option<Client>)) {
        while !self.held.is_empty() {
            self.release_one(&mut release);
        }
    }

    /// When the next line is due.
    pub fn next_release(&self) -> Option<Instant> {
        self.held.oldest().map(|held| held.until)
    }

    fn release_one(&mut self, mut release: impl FnMut(&[u8], Option<Client>)) {
        if let Some(Held { key, line, .. }) = self.held.take_oldest() {
            release(&line, self.find_used(key));
            self.recycle(line);
        }
    }

    fn expired(&self, number: u64) -> bool {
        number + self.size <= self.entries
    }

    /// Keeps a used entry, unless a newer one of its key is kept.
    fn remember(&mut self, key: Key, entry: (u64, Client)) {
        let entry = match self.used.take_newest_of(key) {
            Some(other) if other.0 > entry.0 => other,
            _ => entry,
        };
        self.used.push(key, entry);
        // They are not in the order of their numbers: of twice as many as may count, keep those that do.
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
        if self.spare.len() < HELD {
            line.clear();
            self.spare.push(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::key::{Keys, Server};
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;
    use std::time::Duration;

    /// What the matcher means to do, in the plainest way: (key, client, used), and lines as (key, number, due).
    #[derive(Default)]
    struct Model {
        entries: Vec<(u8, u8, bool)>,
        held: VecDeque<(u8, u8, u64)>,
    }

    impl Model {
        fn recent(&mut self, size: usize) -> &mut [(u8, u8, bool)] {
            let from = self.entries.len().saturating_sub(size);
            &mut self.entries[from..]
        }

        fn newest(&mut self, size: usize, key: u8, used: bool) -> Option<&mut (u8, u8, bool)> {
            self.recent(size).iter_mut().rev().find(|e| e.0 == key && e.2 == used)
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Entry(u8, u8),
        Line(u8, u8),
        Wait(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0_u8..4, any::<u8>()).prop_map(|(k, c)| Step::Entry(k, c)),
            (0_u8..4, any::<u8>()).prop_map(|(k, n)| Step::Line(k, n)),
            (0_u64..30).prop_map(Step::Wait),
        ]
    }

    fn client(n: u8) -> Client {
        Some([192, 0, 2, n].into())
    }

    proptest! {
        #[test]
        fn agrees_with_the_model(steps in prop::collection::vec(step(), 0..200), size in 1_usize..6) {
            let keys = Keys::default();
            let (mut matcher, mut model) = (Matcher::new(size), Model::default());
            let (origin, mut now) = (Instant::now(), 0);
            for step in steps {
                let (mut got, mut wanted) = (Vec::new(), Vec::new());
                match step {
                    Step::Entry(k, c) => {
                        let key = keys.key(&Server::Name("a"), &[k]);
                        matcher.entry(key, client(c), |line, client| got.push((line[0], Some(client))));
                        let waiting = model.held.iter().position(|h| h.0 == k).and_then(|at| model.held.remove(at));
                        model.entries.push((k, c, waiting.is_some()));
                        wanted.extend(waiting.map(|h| (h.1, Some(client(c)))));
                    }
                    Step::Line(k, n) => {
                        let key = keys.key(&Server::Name("a"), &[k]);
                        match matcher.find(key) {
                            Some(client) => got.push((n, Some(client))),
                            None => matcher.hold(key, &[n], origin + Duration::from_millis(now + 10), |_, _| {}),
                        }
                        match model.newest(size, k, false) {
                            Some(e) => {
                                e.2 = true;
                                wanted.push((n, Some(client(e.1))));
                            }
                            None => model.held.push_back((k, n, now + 10)),
                        }
                    }
                    Step::Wait(ms) => {
                        now += ms;
                        let at = origin + Duration::from_millis(now);
                        matcher.release_due(at, |line, client| got.push((line[0], client)));
                        while let Some(&(k, n, _)) = model.held.front().filter(|h| h.2 <= now) {
                            model.held.pop_front();
                            wanted.push((n, model.newest(size, k, true).map(|e| client(e.1))));
                        }
                    }
                }
                prop_assert_eq!(got, wanted);
            }
        }
    }

    #[test]
    fn too_many_held_lines_push_the_oldest_out() {
        let keys = Keys::default();
        let key = keys.key(&Server::Name("a"), b"x");
        let (mut matcher, mut out) = (Matcher::new(10), Vec::new());
        let now = Instant::now();
        for n in 0..=HELD as u32 {
            matcher.hold(key, &n.to_be_bytes(), now, |line, client| out.push((line.to_vec(), client)));
        }
        assert_eq!(out, [(0_u32.to_be_bytes().to_vec(), None)]);
    }
}
