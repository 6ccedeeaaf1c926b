//! AffinityTable, and the table that remembers the server each had: least recently used first out.

use super::Millis;
use lru::LruCache;
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroUsize;

/// Who connected: an IP address, whatever its port. All clients of a Unix socket are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Client(Option<IpAddr>);

impl Client {
    /// The client of a Unix socket.
    pub const UNIX: Client = Client(None);

    /// A client with an address; an IPv4 address inside IPv6 is the IPv4 client.
    pub fn new(ip: IpAddr) -> Self {
        Client(Some(ip.to_canonical()))
    }

    /// Its address; none for a Unix client.
    pub fn ip(self) -> Option<IpAddr> {
        self.0
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(ip) => ip.fmt(f),
            // As in C pen's log and replies.
            None => Ok(()),
        }
    }
}

/// What pen knows of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its number in replies and on the status page; stays with the client while it is known.
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

/// The table of clients.
#[derive(Debug)]
pub struct AffinityTable {
    table: LruCache<Client, Record>,
}

impl AffinityTable {
    /// A table for at most `max` clients (at least one).
    pub fn new(max: usize) -> Self {
        AffinityTable { table: LruCache::new(NonZeroUsize::new(max).unwrap_or(NonZeroUsize::MIN)) }
    }

    /// Makes room for `max` clients; never fewer than now.
    pub fn grow(&mut self, max: usize) {
        if let Some(max) = NonZeroUsize::new(max).filter(|max| *max > self.table.cap()) {
            self.table.resize(max);
        }
    }

    /// A client connects at `now`. Returns its number and the server it had, unless that was longer than
    /// `tracking` ago (0: however long).
    pub fn record_connect(
        &mut self,
        client: Client,
        now: Millis,
        tracking: Millis,
    ) -> (usize, Option<usize>) {
        if let Some(record) = self.table.get_mut(&client) {
            let expired = tracking != 0 && now.saturating_sub(record.seen) > tracking;
            if expired {
                record.server = None;
            }
            record.seen = now;
            record.connects += 1;
            return (record.id, record.server);
        }
        let mut record = Record { id: self.table.len(), server: None, seen: now, connects: 1, sx: 0, rx: 0 };
        if self.table.len() == self.table.cap().get()
            && let Some((_, oldest)) = self.table.pop_lru()
        {
            record.id = oldest.id;
        }
        let id = record.id;
        self.table.put(client, record);
        (id, None)
    }

    /// The client was served by this server.
    pub fn remember(&mut self, client: Client, server: usize) {
        if let Some(record) = self.table.peek_mut(&client) {
            record.server = Some(server);
        }
    }

    /// Bytes went to (`sx`) and came from (`rx`) the client. One that is no longer known is passed over.
    pub fn add_traffic(&mut self, client: Client, sx: u64, rx: u64) {
        if let Some(record) = self.table.peek_mut(&client) {
            record.sx += sx;
            record.rx += rx;
        }
    }

    /// The clients that connected at `since` or later, by number.
    pub fn since(&self, since: Millis) -> Vec<(Client, Record)> {
        let mut clients: Vec<_> =
            self.table.iter().filter(|(_, r)| r.seen >= since).map(|(c, r)| (*c, r.clone())).collect();
        clients.sort_by_key(|(_, record)| record.id);
        clients
    }

    /// How many clients there is room for.
    pub fn max(&self) -> usize {
        self.table.cap().get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn client(n: u8) -> Client {
        Client::new(IpAddr::from([10, 0, 0, n]))
    }

    proptest! {
        /// Against a plain list with the latest at its end.
        #[test]
        fn the_table_forgets_the_least_recent(max in 1usize..5, steps in prop::collection::vec((0u8..8, 0usize..3, 0u64..20), 0..80)) {
            let mut table = AffinityTable::new(max);
            let mut model: Vec<(u8, Option<usize>, u64)> = Vec::new();
            let mut now = 0;
            for (n, server, pause) in steps {
                now += pause;
                let known = model.iter().position(|(c, ..)| *c == n).map(|at| model.remove(at));
                let expected = known.filter(|(.., seen)| now - seen <= 10).and_then(|(_, server, _)| server);
                if model.len() == max { model.remove(0); }
                let (id, remembered) = table.record_connect(client(n), now, 10);
                prop_assert_eq!(remembered, expected);
                prop_assert!(id < max);
                table.remember(client(n), server);
                model.push((n, Some(server), now));
                let mut ids: Vec<_> = table.since(0).iter().map(|(_, r)| r.id).collect();
                ids.dedup();
                prop_assert_eq!(ids.len(), model.len());
            }
        }
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_client() {
        let mapped = "::ffff:10.0.0.1".parse().unwrap();
        assert_eq!(Client::new(mapped), client(1));
        assert_eq!(client(1).to_string(), "10.0.0.1");
    }

    #[test]
    fn the_table_only_grows() {
        let mut table = AffinityTable::new(2);
        (0..3).for_each(|n| _ = table.record_connect(client(n), 0, 0));
        table.grow(1);
        assert_eq!(table.max(), 2);
        table.grow(3);
        table.record_connect(client(7), 0, 0);
        assert_eq!(table.since(0).iter().map(|(_, r)| r.id).collect::<Vec<_>>(), [0, 1, 2]);
    }
}
