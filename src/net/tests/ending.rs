//! Connections that pen ends by itself: at rest, and while more is to come.

use std::io::ErrorKind;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;

use super::ends::acquaint;
use super::tls::tls_rig_with;
use super::*;
use crate::net::relay::Cause;

/// How a connection that is at work is made to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// Told to end soon.
    EndSoon,
    /// Dropped, as when a task is aborted.
    Drop,
}

/// A relay at work, and how to end it.
struct Endable {
    tell: oneshot::Sender<By>,
    task: JoinHandle<Option<RelayOutcome>>,
}

impl Endable {
    fn start(mut relay: Relay<()>) -> Self {
        let (tell, told) = oneshot::channel();
        let task = tokio::spawn(async move {
            // As in a session, a relay is told before it is polled again.
            tokio::select! {
                biased;
                by = told => if by == Ok(By::Drop) { return None },
                end = &mut relay => return Some(end),
            }
            relay.end_soon(false);
            Some(relay.await)
        });
        Endable { tell, task }
    }

    async fn end(self, by: By) {
        self.tell.send(by).expect("still at work");
        let end = self.task.await.unwrap();
        assert_eq!(
            matches!(end, Some(RelayOutcome { cause: Cause::Ended, .. })),
            by == By::EndSoon,
            "{end:?}"
        );
    }
}

async fn is_reset(stream: &mut TcpStream) -> bool {
    match read_all(stream).await.1 {
        Ok(_) => false,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

#[test]
fn at_rest_it_ends_cleanly() {
    both_ways(|settings| async move {
        for by in [By::EndSoon, By::Drop] {
            let (mut client, mut server, relay) = at_rest(&settings, false, ()).await;
            let relay = Endable::start(relay);
            acquaint(&mut client, &mut server).await;
            relay.end(by).await;
            assert!(!is_reset(&mut client).await && !is_reset(&mut server).await, "{by:?}");
        }
    });
}

/// What lanes have carried since the relay was polled is not taken for bytes that move at the end, nor for an answer.
#[test]
fn after_many_short_messages_it_ends_no_differently() {
    both_ways(|settings| async move {
        for (by, asks) in [(By::EndSoon, false), (By::EndSoon, true), (By::Drop, false), (By::Drop, true)] {
            let (mut client, mut server, relay) = at_rest(&settings, false, ()).await;
            let relay = Endable::start(relay);
            for _ in 0..WARM {
                talk(&mut client, &mut server).await;
            }
            if asks {
                client.write_all(b"question").await.unwrap();
                server.read_exact(&mut [0; 8]).await.unwrap();
            }
            relay.end(by).await;
            assert_eq!(is_reset(&mut client).await, asks, "{by:?}");
            assert!(!is_reset(&mut server).await, "{by:?}, with a question: {asks}");
        }
    });
}

#[test]
fn an_answer_that_is_awaited_or_comes_is_cut_off() {
    both_ways(|settings| async move {
        for by in [By::EndSoon, By::Drop] {
            // The client has said all that it has to say, so it is waiting.
            let (mut client, mut server, relay) = at_rest(&settings, false, ()).await;
            let relay = Endable::start(relay);
            acquaint(&mut client, &mut server).await;
            client.write_all(b"question").await.unwrap();
            client.shutdown().await.unwrap();
            assert_eq!(read_all(&mut server).await.0, b"question");
            relay.end(by).await;
            assert!(is_reset(&mut client).await, "{by:?}: no answer looks like an empty one");
        }
        // The server goes on sending, as fast as the client reads.
        let (mut client, mut server, relay) = at_rest(&settings, false, ()).await;
        let relay = Endable::start(relay);
        let data = noise(10_000, 3);
        let stream = async { while server.write_all(&data).await.is_ok() {} };
        let read = async {
            client.read_exact(&mut [0; 100_000]).await.unwrap();
            let (reset, ()) = tokio::join!(is_reset(&mut client), relay.end(By::EndSoon));
            assert!(reset, "a truncated stream looks complete");
        };
        tokio::join!(stream, read);
    });
}

#[test]
fn a_question_without_an_answer_yet_is_cut_off() {
    both_ways(|settings| async move {
        for by in [By::EndSoon, By::Drop] {
            let (mut client, mut server, relay) = at_rest(&settings, false, ()).await;
            let relay = Endable::start(relay);
            acquaint(&mut client, &mut server).await;
            client.write_all(b"question").await.unwrap();
            server.read_exact(&mut [0; 8]).await.unwrap();
            relay.end(by).await;
            assert!(is_reset(&mut client).await, "{by:?}: no answer looks like an empty one");
            assert!(!is_reset(&mut server).await, "{by:?}: the server has got all that was sent");
        }
    });
}

#[test]
fn what_is_not_delivered_is_cut_off() {
    both_ways(|settings| async move {
        for by in [By::EndSoon, By::Drop] {
            let (mut client, mut server, relay) = at_rest(&settings, true, ()).await;
            let relay = Endable::start(relay);
            let data = noise(20_000_000, 7);
            let write = tokio::spawn(async move { server.write_all(&data).await });
            client.read_exact(&mut [0; 1000]).await.unwrap();
            relay.end(by).await;
            assert!(write.await.unwrap().is_err(), "the sender must learn of it");
            assert!(is_reset(&mut client).await, "{by:?}");
        }
    });
}

#[test]
fn what_is_nearly_complete_is_completed() {
    both_ways(|settings| async move {
        let (mut client, mut server, mut relay) = at_rest(&settings, false, ()).await;
        relay.end_soon(false);
        let relay = tokio::spawn(relay);
        server.write_all(b"the last of it").await.unwrap();
        drop(server);
        assert_eq!(read_all(&mut client).await.0, b"the last of it");
        drop(client);
        assert!(matches!(relay.await.unwrap().cause, Cause::Closed));
    });
}

#[test]
fn that_the_server_is_down_counts_however_the_connection_ends() {
    for (idle, dropped) in [(None, false), (Some(Duration::from_millis(50)), false), (None, true)] {
        both_ways(|settings| async move {
            let settings = RelaySettings { idle, ..settings };
            let (mut client, mut server, mut relay) = at_rest(&settings, false, ()).await;
            server.write_all(b"half an answer").await.unwrap();
            let mut half = [0; 14];
            tokio::select! {
                biased;
                read = client.read_exact(&mut half) => assert!(read.is_ok()),
                end = &mut relay => panic!("{end:?}"),
            }
            relay.end_soon(false);
            relay.end_soon(true);
            match dropped {
                true => drop(relay),
                false => _ = relay.await,
            }
            assert!(is_reset(&mut client).await, "{idle:?} {dropped}");
        });
    }
}

#[test]
fn an_idle_timeout_while_an_answer_is_awaited_is_a_reset() {
    both_ways(|settings| async move {
        let settings = RelaySettings { idle: Some(Duration::from_millis(50)), ..settings };
        let Rig { mut client, relay, server: _server, .. } = rig(&settings, false).await;
        client.shutdown().await.unwrap();
        assert!(is_reset(&mut client).await);
        assert!(matches!(relay.await.unwrap().cause, Cause::Idle));
    });
}

#[test]
fn over_tls_only_what_is_complete_ends_with_close_notify() {
    for by in [By::EndSoon, By::Drop] {
        for complete in [true, false] {
            run(async {
                let (mut client, mut server, relay) = tls_rig_with(Endable::start).await;
                client.write_all(b"question").await.unwrap();
                server.read_exact(&mut [0; 8]).await.unwrap();
                server.write_all(b"answer").await.unwrap();
                client.read_exact(&mut [0; 6]).await.unwrap();
                if !complete {
                    client.shutdown().await.unwrap();
                    assert_eq!(read_all(&mut server).await.0, b"");
                }
                let mut more = [0; 1];
                let (end, ()) = tokio::join!(client.read(&mut more), relay.end(by));
                assert_eq!(end.is_ok(), complete, "{by:?}: {end:?}");
            });
        }
    }
}
