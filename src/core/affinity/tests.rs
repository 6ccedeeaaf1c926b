//! The table compared with plain lists.

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;

fn client(n: u8) -> Client {
    Client::new(IpAddr::from([10, 0, 0, n]))
}

fn ids(table: &AffinityTable) -> Vec<usize> {
    (0..table.len()).map(|id| table.get(id).unwrap().1.id).collect()
}

proptest! {
    /// Compared with a list whose last element is the latest.
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
            table.remember(id, client(n), server);
            model.push((n, Some(server), now));
            prop_assert_eq!(ids(&table), (0..model.len()).collect::<Vec<_>>());
            let mut known: Vec<Client> = (0..table.len()).map(|id| table.get(id).unwrap().0).collect();
            let mut wanted: Vec<Client> = model.iter().map(|(n, ..)| client(*n)).collect();
            known.sort_by_key(|c| c.ip());
            wanted.sort_by_key(|c| c.ip());
            prop_assert_eq!(known, wanted);
        }
    }

    /// Clients connect while a scan runs in steps. It finds exactly the clients that connected since the given time.
    #[test]
    fn a_search_finds_the_clients_of_late(
        max in 1usize..12,
        before in prop::collection::vec((0u8..20, 0u64..4), 0..40),
        meanwhile in prop::collection::vec((prop::collection::vec((0u8..20, 0u64..4), 0..4), 1usize..4), 0..20),
        back in 0u64..60,
    ) {
        let mut table = AffinityTable::new(max);
        let mut now = 0;
        let mut connect = |table: &mut AffinityTable, (n, pause): (u8, u64)| {
            now += pause;
            table.record_connect(client(n), now, 0);
            now
        };
        let last = before.into_iter().map(|step| connect(&mut table, step)).last().unwrap_or(0);
        let since = last.saturating_sub(back);
        let scan = table.begin_scan(since);
        for (steps, most) in meanwhile {
            steps.into_iter().for_each(|step| _ = connect(&mut table, step));
            table.scan(&scan, most);
        }
        while table.scan(&scan, 3) {}
        let found = table.end_scan(&scan);
        for id in 0..table.len() {
            prop_assert_eq!(found.contains(id), table.get(id).unwrap().1.seen >= since, "{}", id);
        }
        prop_assert_eq!(found.next(table.len()), None);
    }
}

#[test]
fn a_search_looks_at_no_more_than_it_is_told_and_at_nobody_who_is_too_old() {
    let mut table = AffinityTable::new(100);
    (0..100).for_each(|n| _ = table.record_connect(client(n), n.into(), 0));
    let scan = table.begin_scan(90);
    // Ten clients are recent enough: the eleventh that is examined ends the scan.
    assert_eq!([3, 3, 3, 1, 1].map(|most| table.scan(&scan, most)), [true, true, true, true, false]);
    let found = table.end_scan(&scan);
    assert_eq!((0..100).filter(|id| found.contains(*id)).collect::<Vec<_>>(), (90..100).collect::<Vec<_>>());
}

#[test]
fn who_is_no_longer_known_gets_nothing() {
    let mut table = AffinityTable::new(1);
    let (first, _) = table.record_connect(client(1), 0, 0);
    let (second, _) = table.record_connect(client(2), 0, 0);
    assert_eq!(first, second);
    table.remember(first, client(1), 7);
    table.add_traffic(first, client(1), 1, 1);
    let (who, record) = table.get(second).unwrap();
    assert_eq!((who, record.server, record.sx, record.rx), (client(2), None, 0, 0));
}

#[test]
fn a_server_that_is_forgotten_is_nobodys_and_neither_is_its_successor() {
    let mut table = AffinityTable::new(4);
    let ids = [1, 2, 3].map(|n| table.record_connect(client(n), 0, 0).0);
    for (n, server) in [(1, 7), (2, 7), (3, 6)] {
        table.remember(ids[n - 1], client(n as u8), server);
    }
    table.forget(7);
    let had = |table: &AffinityTable, n| table.look_up(client(n)).unwrap().server;
    assert_eq!([1, 2, 3].map(|n| had(&table, n)), [None, None, Some(6)]);
    assert_eq!(table.get(ids[0]).unwrap().1.server, None);
    assert_eq!(table.record_connect(client(1), 0, 0).1, None);
    table.remember(ids[0], client(1), 7);
    assert_eq!(table.record_connect(client(1), 0, 0).1, Some(7), "it had the successor");
    assert_eq!(table.record_connect(client(2), 0, 0).1, None);
}

#[test]
fn a_mapped_address_is_the_ipv4_client() {
    let mapped = "::ffff:10.0.0.1".parse().unwrap();
    assert_eq!(Client::new(mapped), client(1));
    assert_eq!(client(1).to_string(), "10.0.0.1");
}

#[test]
fn a_mask_makes_a_network_one_client() {
    let masked = |address: &str, mask| {
        Client::new(address.parse().unwrap()).masked(mask).ip().map(|ip| ip.to_string())
    };
    let mask = ClientMask { v4: 24, v6: 56 };
    for (address, network) in [
        ("10.1.2.3", "10.1.2.0"),
        ("::ffff:10.1.2.3", "10.1.2.0"),
        ("2001:db8:1:2ff:3::4", "2001:db8:1:200::"),
    ] {
        assert_eq!(masked(address, mask).unwrap(), network);
        assert_eq!(masked(address, ClientMask::default()).unwrap(), address.trim_start_matches("::ffff:"));
    }
    let all = ClientMask { v4: 0, v6: 0 };
    assert_eq!([masked("10.1.2.3", all), masked("::1", all)].map(Option::unwrap), ["0.0.0.0", "::"]);
    assert_eq!(Client::UNIX.masked(all), Client::UNIX);
}

#[test]
fn the_table_only_grows() {
    let mut table = AffinityTable::new(2);
    (0..3).for_each(|n| _ = table.record_connect(client(n), 0, 0));
    table.grow(1);
    assert_eq!(table.max(), 2);
    table.grow(3);
    table.record_connect(client(7), 0, 0);
    assert_eq!(ids(&table), [0, 1, 2]);
}
