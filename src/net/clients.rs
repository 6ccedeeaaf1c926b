//! The affinity table, shared by all workers.
//!
//! Every connection uses it at its beginning and its end. A scan of many clients processes [`PIECE`] of them, hands the
//! lock to a waiting worker, and continues.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use crate::core::Millis;
use crate::core::affinity::{AffinityTable, Client, Record, ScanId};
use crate::core::backend::ServerStats;
use crate::core::number_set::NumberSet;

use super::clock::Clock;
use super::connections::{Connection, ConnectionTable, PIECE};

/// The table of clients, with its lock and clock.
#[derive(Debug)]
pub struct Clients {
    table: Mutex<AffinityTable>,
    clock: Clock,
}

impl Clients {
    /// A table for at most `max` clients.
    pub fn new(max: usize, clock: Clock) -> Self {
        Clients { table: Mutex::new(AffinityTable::new(max)), clock }
    }

    /// Records that a client connects. Returns its number and the server that it had, unless its last connection was
    /// longer than `tracking` ago (0: no limit).
    pub fn record_connect(&self, client: Client, tracking: Millis) -> (usize, Option<usize>) {
        let mut table = self.table.lock();
        // The time is read under the lock, so that the order of the table is that of its times.
        let now = self.clock.now();
        table.record_connect(client, now, tracking)
    }

    /// Records the server of this connection's client, the one of slot `server`.
    pub fn remember(&self, connection: &Connection, server: usize, stats: &ServerStats) {
        let Some(id) = connection.client().id() else { return };
        let mut table = self.table.lock();
        // Checked under the lock: a removed server is forgotten only after that.
        if !stats.is_removed() {
            table.remember(id, connection.client().key, server);
        }
    }

    /// Forgets a removed server, the one of this slot.
    pub fn forget(&self, server: usize) {
        self.table.lock().forget(server);
    }

    /// Adds the connection's traffic since the last call to its client.
    pub fn add_traffic(&self, connection: &Connection) {
        if let Some(id) = connection.client().id() {
            add_traffic(&mut self.table.lock(), id, connection);
        }
    }

    /// The record of a client.
    pub fn look_up(&self, client: Client) -> Option<Record> {
        self.table.lock().look_up(client)
    }

    /// Makes room for `max` clients; the table never shrinks.
    pub fn grow(&self, max: usize) {
        self.table.lock().grow(max);
    }

    /// The number of clients.
    pub fn count(&self) -> usize {
        self.table.lock().len()
    }

    /// The maximum number of clients.
    pub fn max(&self) -> usize {
        self.table.lock().max()
    }
}

fn add_traffic(table: &mut AffinityTable, id: usize, connection: &Connection) {
    // Under the lock: a connection's bytes are counted only once, even by concurrent callers.
    let (sx, rx) = connection.take_uncounted();
    table.add_traffic(id, connection.client().key, sx, rx);
}

/// An iterator over the clients that connected at or after a given time, in order of their numbers, including the bytes
/// of open connections.
#[derive(Debug)]
pub struct ClientWalk {
    clients: Arc<Clients>,
    connections: Arc<ConnectionTable>,
    stage: ScanStage,
}

#[derive(Debug)]
enum ScanStage {
    /// Finding the clients that connected recently.
    Search(ScanId),
    /// Adding the traffic of their open connections, from this number of a connection on.
    Count(Wanted, usize),
    /// Reading their records, from this number of a client on.
    Read(Wanted, usize),
    Over,
}

/// The numbers of the clients to show.
#[derive(Debug)]
enum Wanted {
    All,
    Some(NumberSet),
}

impl Wanted {
    fn contains(&self, id: usize) -> bool {
        match self {
            Wanted::All => true,
            Wanted::Some(found) => found.contains(id),
        }
    }

    fn next(&self, from: usize) -> Option<usize> {
        match self {
            Wanted::All => Some(from),
            Wanted::Some(found) => found.next(from),
        }
    }
}

impl ClientWalk {
    /// All clients that connected at `since` or later.
    pub fn new(clients: Arc<Clients>, connections: Arc<ConnectionTable>, since: Millis) -> Self {
        let stage = match since {
            0 => ScanStage::Count(Wanted::All, 0),
            since => ScanStage::Search(clients.table.lock().begin_scan(since)),
        };
        ClientWalk { clients, connections, stage }
    }

    /// Advances a little and adds the clients found, possibly none. False at the end.
    pub fn next(&mut self, found: &mut Vec<(Client, Record)>) -> bool {
        self.stage = match std::mem::replace(&mut self.stage, ScanStage::Over) {
            ScanStage::Search(scan) => self.search(scan),
            ScanStage::Count(wanted, from) => self.count(wanted, from),
            ScanStage::Read(wanted, from) => self.read(wanted, from, found),
            ScanStage::Over => return false,
        };
        true
    }

    fn search(&self, scan: ScanId) -> ScanStage {
        let mut table = self.clients.table.lock();
        let next = if table.scan(&scan, PIECE) {
            ScanStage::Search(scan)
        } else {
            ScanStage::Count(Wanted::Some(table.end_scan(&scan)), 0)
        };
        MutexGuard::unlock_fair(table);
        next
    }

    fn count(&self, wanted: Wanted, from: usize) -> ScanStage {
        let mut piece = Vec::with_capacity(PIECE);
        let next = self.connections.piece(from, &mut piece);
        let mut table = self.clients.table.lock();
        for (_, connection) in &piece {
            if let Some(id) = connection.client().id().filter(|id| wanted.contains(*id)) {
                add_traffic(&mut table, id, connection);
            }
        }
        MutexGuard::unlock_fair(table);
        match next {
            Some(from) => ScanStage::Count(wanted, from),
            None => ScanStage::Read(wanted, 0),
        }
    }

    fn read(&self, wanted: Wanted, mut from: usize, found: &mut Vec<(Client, Record)>) -> ScanStage {
        let table = self.clients.table.lock();
        for _ in 0..PIECE {
            let Some(next) = wanted.next(from) else { return ScanStage::Over };
            let Some((client, record)) = table.get(next) else { return ScanStage::Over };
            found.push((client, record));
            from = next + 1;
        }
        MutexGuard::unlock_fair(table);
        ScanStage::Read(wanted, from)
    }
}

impl Drop for ClientWalk {
    fn drop(&mut self) {
        if let ScanStage::Search(scan) = &self.stage {
            _ = self.clients.table.lock().end_scan(scan);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::core::settings::{AdminState, OnDown, ProxyHeader};
    use crate::core::snapshot::{Backend, Role};
    use crate::net::accepted_client::AcceptedClient;
    use crate::net::connections::ConnectionEntry;
    use crate::net::filter::TrafficMeter;
    use crate::net::known_client::KnownClient;

    fn client(n: u32) -> Client {
        Client::new(IpAddr::V4(Ipv4Addr::from(n)))
    }

    fn accepted(n: u32, id: usize) -> AcceptedClient {
        let client = client(n);
        let known = KnownClient::unlisted(client, client, None).with_id(Some(id));
        AcceptedClient { known, downfd: -1, began: 0 }
    }

    /// The tables of a pen with open connections of the first `open` of `count` clients.
    fn tables(count: u32, open: u32) -> (Arc<Clients>, Arc<ConnectionTable>, Vec<ConnectionEntry>) {
        let clients = Arc::new(Clients::new(count as usize, Clock::start()));
        let connections = Arc::<ConnectionTable>::default();
        let mut entries = Vec::new();
        for n in 0..count {
            let (id, _) = clients.record_connect(client(n), 0);
            if n < open {
                let permit = connections.try_permit(usize::MAX).unwrap();
                entries.push(permit.enter(Connection::new(accepted(n, id))));
            }
        }
        (clients, connections, entries)
    }

    fn backend() -> Backend {
        Backend {
            role: Role::Regular(0),
            name: None,
            label: String::new(),
            port: 1,
            addresses: Vec::new(),
            max: 0,
            hard: 0,
            weight: 0,
            prio: 0,
            acl: 0,
            admin_state: AdminState::Ready,
            on_down: OnDown::Keep,
            proxy: ProxyHeader::Off,
            check: None,
            check_pauses: false,
            tls: None,
            identity: 0,
            stats: Arc::default(),
        }
    }

    #[test]
    fn a_look_at_many_takes_them_in_small_pieces() {
        let (clients, connections, _entries) = tables(10_000, 1_000);
        for since in [0, 1] {
            let mut walk = ClientWalk::new(Arc::clone(&clients), Arc::clone(&connections), since);
            let mut all = Vec::new();
            let mut before = 0;
            while walk.next(&mut all) {
                assert!(all.len() - before <= PIECE);
                before = all.len();
            }
            assert!(all.iter().map(|(client, _)| *client).eq((0..10_000).map(client)));
        }
        let mut walk = ClientWalk::new(clients, connections, Millis::MAX);
        let mut all = Vec::new();
        while walk.next(&mut all) {}
        assert_eq!(all, [], "nobody has connected since");
    }

    #[test]
    fn bytes_of_open_connections_are_counted_once_whoever_asks() {
        let (clients, connections, entries) = tables(3, 2);
        let meters = [0, 1].map(|n| entries[n].connection.connected(&backend(), -1));
        let shown = || {
            let mut walk = ClientWalk::new(Arc::clone(&clients), Arc::clone(&connections), 0);
            let mut all = Vec::new();
            while walk.next(&mut all) {}
            all.iter().map(|(_, record)| (record.sx, record.rx)).collect::<Vec<_>>()
        };
        meters[0].to_client(5);
        meters[1].to_server(7);
        assert_eq!(shown(), [(5, 0), (0, 7), (0, 0)]);
        meters[0].to_client(1);
        assert_eq!(shown(), [(6, 0), (0, 7), (0, 0)]);
        for entry in &entries {
            clients.add_traffic(&entry.connection);
        }
        drop(entries);
        assert_eq!(shown(), [(6, 0), (0, 7), (0, 0)]);
    }

    #[test]
    fn a_walk_that_is_given_up_leaves_no_search_behind() {
        let (clients, connections, _entries) = tables(1_000, 0);
        for _ in 0..3 {
            let mut walk = ClientWalk::new(Arc::clone(&clients), Arc::clone(&connections), 1);
            assert!(walk.next(&mut Vec::new()));
        }
        assert!(clients.table.lock().has_no_scans());
    }
}
