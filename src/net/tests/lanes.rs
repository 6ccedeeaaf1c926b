//! Lanes: short messages that the event port carries without waking tasks.

use std::future::poll_fn;
use std::time::Instant;

use super::*;
use crate::net::relay::Cause;
use crate::sys::socket;

/// Relays that count how often they are polled.
struct Crowd {
    rigs: Vec<Rig>,
    polls: Arc<AtomicUsize>,
}

impl Crowd {
    /// So many, which have lanes.
    async fn new(count: usize, small: bool) -> Self {
        Self::with(&spliced(), count, small).await
    }

    async fn with(settings: &RelaySettings, count: usize, small: bool) -> Self {
        let polls = Arc::new(AtomicUsize::new(0));
        let mut rigs = Vec::new();
        for _ in 0..count {
            let counts = Arc::new(RelayCounts::default());
            let (client, server, mut relay) = at_rest(settings, small, counts.clone()).await;
            let polled = Arc::clone(&polls);
            let relay = tokio::spawn(poll_fn(move |cx| {
                polled.fetch_add(1, Relaxed);
                Pin::new(&mut relay).poll(cx)
            }));
            rigs.push(Rig { client, server, relay, counts });
        }
        for _ in 0..WARM {
            for rig in &mut rigs {
                talk(&mut rig.client, &mut rig.server).await;
            }
        }
        Crowd { rigs, polls }
    }
}

/// By calls made together, and one by one.
fn each_way<F: Future<Output = ()>>(test: impl Fn() -> F) {
    for together in [true, false] {
        run(async {
            socket::prepare(together).unwrap();
            test().await;
        });
    }
}

fn has_lanes() -> bool {
    cfg!(target_os = "linux") && std::env::var_os("PEN_PORTABLE").is_none()
}

#[test]
fn messages_of_many_connections_wake_no_task_and_are_counted() {
    const ROUNDS: usize = 10;
    each_way(|| async {
        // More than one submission of the ring, and more than one turn of the event port.
        for count in [1, 2, 300] {
            let mut crowd = Crowd::new(count, false).await;
            let before = crowd.polls.load(Relaxed);
            for round in 0..ROUNDS {
                for (n, rig) in crowd.rigs.iter_mut().enumerate() {
                    rig.client.write_all(&noise(1 + n + round, n as u32)).await.unwrap();
                }
                for (n, rig) in crowd.rigs.iter_mut().enumerate() {
                    let mut got = vec![0; 1 + n + round];
                    rig.server.read_exact(&mut got).await.unwrap();
                    assert_eq!(got, noise(1 + n + round, n as u32));
                    rig.server.write_all(&got).await.unwrap();
                }
                for (n, rig) in crowd.rigs.iter_mut().enumerate() {
                    let mut got = vec![0; 1 + n + round];
                    rig.client.read_exact(&mut got).await.unwrap();
                    assert_eq!(got, noise(1 + n + round, n as u32));
                }
            }
            if has_lanes() && count < 256 {
                assert_eq!(crowd.polls.load(Relaxed), before, "of {count}");
            }
            for (n, rig) in crowd.rigs.into_iter().enumerate() {
                let bytes = WARM + (0..ROUNDS).map(|round| 1 + n + round).sum::<usize>();
                assert_eq!(rig.counts.to_server.load(Relaxed), bytes);
                assert_eq!(rig.counts.to_client.load(Relaxed), bytes);
                drop((rig.client, rig.server));
                let end = rig.relay.await.unwrap();
                assert!(matches!(end.cause, Cause::Closed), "{end:?}");
                assert_eq!((end.to_server, end.to_client), (bytes as u64, bytes as u64));
            }
        }
    });
}

/// A connection whose messages pass by lanes is not idle, another one is, and the timer wakes either only when it fires.
#[test]
fn an_idle_timeout_leaves_messages_to_lanes_and_knows_of_them() {
    const PERIOD: Duration = Duration::from_secs(1);
    each_way(|| async {
        let settings = RelaySettings { idle: Some(PERIOD), ..spliced() };
        let (busy, last) = 'attempt: loop {
            let mut crowd = Crowd::with(&settings, 2, false).await;
            let (mut busy, mut idle) = (crowd.rigs.remove(0), crowd.rigs.remove(0));
            let at_rest = Instant::now();
            talk(&mut idle.client, &mut idle.server).await;
            let (before, mut messages, mut last) = (crowd.polls.load(Relaxed), 0, at_rest);
            let mut left = WARM;
            while left > 0 {
                let earlier = std::mem::replace(&mut last, Instant::now());
                if try_talk(&mut busy.client, &mut busy.server).await.is_err() {
                    // A machine that halts for that long makes it idle.
                    assert!(earlier.elapsed() >= PERIOD, "{:?}", earlier.elapsed());
                    continue 'attempt;
                }
                messages += 1;
                // It is woken by its timer when the other one is, and goes on as before.
                left -= usize::from(idle.relay.is_finished());
            }
            assert!(at_rest.elapsed() >= PERIOD - Duration::from_millis(20), "{:?}", at_rest.elapsed());
            // At most the timers of both, which are set again once and fire once.
            let polls = crowd.polls.load(Relaxed) - before;
            assert!(messages > 100 && (polls <= 6 || !has_lanes()), "{polls} polls in {messages} messages");
            assert!(matches!(idle.relay.await.unwrap().cause, Cause::Idle));
            assert_eq!(read_all(&mut idle.client).await.1.unwrap(), 0, "a clean close");
            break (busy, last);
        };
        let end = busy.relay.await.unwrap();
        assert!(matches!(end.cause, Cause::Idle), "{end:?}");
        assert!(last.elapsed() >= PERIOD - Duration::from_millis(20), "{:?}", last.elapsed());
    });
}

/// The last message of a connection passes by a lane: its idle timeout begins there, not where its task last saw one.
#[test]
fn the_idle_timeout_begins_with_the_last_message_of_a_lane() {
    const PERIOD: Duration = Duration::from_millis(600);
    each_way(|| async {
        let settings = RelaySettings { idle: Some(PERIOD), ..spliced() };
        let (rig, last) = loop {
            let begin = Instant::now();
            let mut crowd = Crowd::with(&settings, 1, false).await;
            let mut rig = crowd.rigs.remove(0);
            tokio::time::sleep(PERIOD / 2).await;
            let last = Instant::now();
            if try_talk(&mut rig.client, &mut rig.server).await.is_ok() {
                break (rig, last);
            }
            // A machine that halts lets it be idle before.
            assert!(begin.elapsed() >= PERIOD, "{:?}", begin.elapsed());
        };
        assert!(matches!(rig.relay.await.unwrap().cause, Cause::Idle));
        assert!(last.elapsed() >= PERIOD - Duration::from_millis(20), "{:?}", last.elapsed());
    });
}

/// With an idle timeout too, all ways to end a connection are as without lanes.
#[test]
fn an_idle_timeout_changes_no_end() {
    each_way(|| async {
        let settings = RelaySettings { idle: Some(Duration::from_secs(60)), ..spliced() };
        let mut crowd = Crowd::with(&settings, 4, false).await;
        // One side ends its direction, and is answered.
        let mut rig = crowd.rigs.remove(0);
        rig.client.write_all(b"question").await.unwrap();
        rig.client.shutdown().await.unwrap();
        assert_eq!(read_all(&mut rig.server).await.0, b"question");
        rig.server.write_all(b"answer").await.unwrap();
        drop(rig.server);
        assert_eq!(read_all(&mut rig.client).await.0, b"answer");
        assert!(matches!(rig.relay.await.unwrap().cause, Cause::Closed));
        // It breaks off.
        let rig = crowd.rigs.remove(0);
        let (client, mut server) = (rig.client, rig.server);
        reset(client);
        assert!(read_all(&mut server).await.1.is_err());
        assert!(matches!(rig.relay.await.unwrap().cause, Cause::Broken { .. }));
        // Pen ends it, whose question is answered or not.
        for answered in [true, false] {
            let mut rig = crowd.rigs.remove(0);
            if !answered {
                rig.client.write_all(b"question").await.unwrap();
                rig.server.read_exact(&mut [0; 8]).await.unwrap();
            }
            rig.relay.abort();
            assert_eq!(read_all(&mut rig.client).await.1.is_ok(), answered);
        }
    });
}

/// What a lane has read and the destination does not take is delivered, before what comes later.
#[test]
fn a_destination_that_takes_no_more_gets_all_in_the_end() {
    each_way(|| async {
        let mut crowd = Crowd::new(3, true).await;
        let data = noise(400_000, 3);
        let (mut far, mut readers) = (Vec::new(), Vec::new());
        for rig in crowd.rigs.drain(..) {
            let (mut client, data) = (rig.client, data.clone());
            far.push(rig.server);
            readers.push(tokio::spawn(async move {
                for piece in data.chunks(1000) {
                    client.write_all(piece).await.unwrap();
                    tokio::task::yield_now().await;
                }
                client.shutdown().await.unwrap();
                (client, rig.relay)
            }));
        }
        for _ in 0..2_000 {
            tokio::task::yield_now().await;
        }
        for (mut server, reader) in far.into_iter().zip(readers) {
            let (got, end) = read_all(&mut server).await;
            end.unwrap();
            assert!(got == data, "{} of {}", got.len(), data.len());
            drop(server);
            let (client, relay) = reader.await.unwrap();
            assert_eq!(relay.await.unwrap().to_server as usize, data.len() + WARM);
            drop(client);
        }
    });
}

/// Whoever is reset while its messages pass by lanes has the other side reset too.
#[test]
fn a_reset_is_passed_on() {
    each_way(|| async {
        for of_client in [true, false] {
            let mut crowd = Crowd::new(4, false).await;
            let rig = crowd.rigs.remove(1);
            let (mut gone, mut left) =
                if of_client { (rig.client, rig.server) } else { (rig.server, rig.client) };
            gone.write_all(b"last words").await.unwrap();
            reset(gone);
            let (_, end) = read_all(&mut left).await;
            assert!(end.is_err(), "{end:?}");
            assert!(matches!(rig.relay.await.unwrap().cause, Cause::Broken { .. }));
            for rig in &mut crowd.rigs {
                talk(&mut rig.client, &mut rig.server).await;
            }
        }
    });
}

/// Messages that are longer than a lane takes at once, and short ones after them.
#[test]
fn long_messages_and_short_ones_keep_their_order() {
    each_way(|| async {
        let mut crowd = Crowd::new(5, false).await;
        for (length, seed) in
            [(10, 1), (4095, 2), (4096, 3), (4097, 4), (100_000, 5), (10, 6), (4096, 7), (1, 8)]
        {
            for rig in &mut crowd.rigs {
                rig.client.write_all(&noise(length, seed)).await.unwrap();
            }
            for rig in &mut crowd.rigs {
                let mut got = vec![0; length];
                rig.server.read_exact(&mut got).await.unwrap();
                assert!(got == noise(length, seed), "{length}");
            }
        }
    });
}

/// A relay that is dropped, as `close` does, resets a connection whose question is not answered.
#[test]
fn a_relay_that_is_dropped_knows_what_its_lanes_have_carried() {
    each_way(|| async {
        for answered in [true, false] {
            let mut crowd = Crowd::new(2, false).await;
            let mut rig = crowd.rigs.remove(0);
            if !answered {
                rig.client.write_all(b"question").await.unwrap();
                rig.server.read_exact(&mut [0; 8]).await.unwrap();
            }
            rig.relay.abort();
            let (_, end) = read_all(&mut rig.client).await;
            assert_eq!(end.is_ok(), answered, "{end:?}");
        }
    });
}
