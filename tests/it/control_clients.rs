//! Clients of the control socket that are silent, slow, or do not read: nobody else waits for them.

use std::io::{ErrorKind, Read as _};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::support::backend::greeters;
use crate::support::{Client, Setup, Stopwatch, process, skipped, wait_until};

#[test]
fn silent_and_slow_clients_hold_up_neither_commands_nor_data() {
    let backends = greeters(1);
    let pen = Setup::new().servers(&backends).start();
    let mut silent: Vec<Client> = (0..10).map(|_| Client::to_path(&pen.control_path())).collect();
    for client in &mut silent[5..] {
        client.send("bl");
    }
    let stopwatch = Stopwatch::start();
    assert_eq!(pen.choices([2, 3]), "A A");
    assert_eq!(pen.control("blacklist"), "30\n");
    stopwatch.is_below(Duration::from_secs(3));
    for client in &mut silent[5..] {
        client.send("acklist\n");
        assert_eq!(client.text(), "30\n");
    }
}

#[test]
fn a_silent_client_is_sent_away_in_time() {
    let pen = Setup::new().start();
    let mut client = Client::to_path(&pen.control_path());
    client.send("pi");
    // The client waits; pen does not for long.
    let reply = client.line();
    assert!(reply.starts_with("error: ") && reply.contains("seconds"), "{reply}");
}

#[test]
fn a_reply_that_nobody_reads_holds_nobody_up() {
    let pen = Setup::new().start();
    for n in 0..600 {
        pen.control(&format!("server {n} address 127.0.0.1 port 1"));
    }
    let mut clients: Vec<Client> = (0..8)
        .map(|_| {
            let mut client = Client::to_path(&pen.control_path());
            client.send("servers\n");
            client
        })
        .collect();
    assert_eq!(pen.control("pid"), format!("{}\n", pen.pid()));
    for client in &mut clients {
        assert_eq!(client.text().lines().count(), 600);
    }
}

#[test]
fn many_silent_clients_keep_nobody_away() {
    let pen = Setup::new().start();
    let stopwatch = Stopwatch::start();
    let mut silent: Vec<Client> = (0..800).map(|_| Client::to_path(&pen.control_path())).collect();
    assert_eq!(pen.control("pid"), format!("{}\n", pen.pid()));
    stopwatch.is_below(Duration::from_secs(1));
    // The first to come are the first to go, and are told why.
    assert_eq!(silent[0].text(), "error: no line, and others wait\n");
    silent[799].send("pid\n");
    assert_eq!(silent[799].text(), format!("{}\n", pen.pid()));
}

/// What comes of a reply: one that is cut ends with a reset.
fn as_far_as_it_came(client: &mut Client) -> Vec<u8> {
    let mut reply = Vec::new();
    match client.0.read_to_end(&mut reply) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => {
            panic!("after {} bytes: {error}", reply.len())
        }
        _ => reply,
    }
}

/// Replies whose clients begin to read late are whole. Pen cuts one that nobody has read for ten seconds: a machine that
/// needs that long is asked again.
#[track_caller]
fn whole_when_read(mut replies: impl FnMut() -> Vec<Vec<u8>>, is_whole: impl Fn(usize, &[u8]) -> bool) {
    for attempt in 0.. {
        let begin = Instant::now();
        let replies = replies();
        let Some(cut) = (0..replies.len()).find(|n| !is_whole(*n, &replies[*n])) else { return };
        let (took, end) = (begin.elapsed(), &replies[cut][replies[cut].len().saturating_sub(100)..]);
        assert!(
            took >= Duration::from_secs(10) && attempt < 4,
            "reply {cut} ends after {} bytes and {took:?}: {}",
            replies[cut].len(),
            String::from_utf8_lossy(end)
        );
    }
}

#[test]
fn replies_that_nobody_reads_take_no_memory() {
    const CLIENTS: u32 = 5_000;
    let setup = Setup::new();
    let page = setup.file("page");
    let pen = setup.options(format!("-c {CLIENTS} -w {page}")).start();
    for n in 0..CLIENTS {
        // Closed at once, as there is no server.
        Client::from(&Ipv4Addr::from(0x7f01_0001 + n).to_string(), pen.address);
    }
    wait_until("all clients to be known", || pen.control("recent 1000").lines().count() == CLIENTS as usize);
    let whole = pen.control("status").len();
    assert!(whole > 400_000, "{whole} bytes");
    if process::status(pen.pid(), "VmRSS").is_none() {
        return skipped("memory of replies", "no /proc");
    }
    let before = process::resident(pen.pid());
    let ask = |n: usize| {
        let mut client = Client::to_path(&pen.control_path());
        client.send(["status\n", "recent 1000\n", "json clients\n"][n % 3]);
        client
    };
    let replies = || {
        let mut unread: Vec<Client> = (0..30).map(ask).collect();
        // Whoever asks last is answered last.
        assert_eq!(pen.control("pid"), format!("{}\n", pen.pid()));
        assert_eq!(pen.control("status").len(), whole);
        let after = process::resident(pen.pid());
        // The pages alone would be 5 MB.
        assert!(after.saturating_sub(before) < 4_000, "{before} kB became {after} kB");
        unread.iter_mut().take(3).map(as_far_as_it_came).collect()
    };
    whole_when_read(replies, |n, reply| {
        reply.len() > 150_000 && reply.ends_with([&b"</html>\n"[..], b"rx 0\n", b"]}\n"][n])
    });
}

#[test]
fn replies_about_thousands_of_servers_take_no_memory_and_hold_nobody_up() {
    const SERVERS: usize = 3_000;
    let setup = Setup::new();
    let mut lines = String::new();
    for n in 0..SERVERS {
        let [high, low] = [n / 256, n % 256];
        lines += &format!("server {n} address 127.1.{high}.{low} port 1 name s{n}\n");
        lines += &format!("sni_server h{n}.example.com s{n}\n");
        lines += &format!("acl 1 permit 127.1.{high}.{low}\n");
    }
    let file = setup.file("conf");
    std::fs::write(&file, lines).expect("a file");
    let pen = setup.options(format!("-F {file}")).start();
    if process::status(pen.pid(), "VmRSS").is_none() {
        return skipped("memory of replies", "no /proc");
    }
    let commands =
        ["servers", "json servers", "json config", "why 127.0.0.1", "json why 127.0.0.1", "show sni_server"];
    let whole = commands.map(|command| pen.control(command));
    for (command, reply) in commands.iter().zip(&whole) {
        assert!(reply.len() > 90_000, "{command}: {} bytes", reply.len());
        if command.starts_with("json") {
            serde_json::from_str::<serde_json::Value>(reply).expect("a whole document");
        }
    }
    let before = process::resident(pen.pid());
    let ask = |n: usize| {
        let mut client = Client::to_path(&pen.control_path());
        client.send(format!("{}\n", commands[n % commands.len()]));
        client
    };
    let mut limits = 7..;
    let replies = || {
        let mut unread: Vec<Client> = (0..36).map(ask).collect();
        // Whoever asks last is answered last.
        assert_eq!(pen.control("pid"), format!("{}\n", pen.pid()));
        assert_eq!(pen.control("servers").lines().count(), SERVERS);
        let after = process::resident(pen.pid());
        // The replies alone would be 13 MB.
        assert!(after.saturating_sub(before) < 4_000, "{before} kB became {after} kB");
        // What changes meanwhile does so between two rows.
        let limit = limits.next().expect("a limit");
        assert_eq!(pen.control(&format!("server 2999 max {limit}")), "");
        unread.iter_mut().take(commands.len()).map(as_far_as_it_came).collect()
    };
    whole_when_read(replies, |n, reply| {
        let reply = String::from_utf8_lossy(reply);
        reply.lines().count() == whole[n].lines().count()
            && (!commands[n].starts_with("json") || serde_json::from_str::<serde_json::Value>(&reply).is_ok())
    });
}
