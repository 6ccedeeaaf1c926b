//! Every way in which a connection ends.

use std::future::{Future, poll_fn};
use std::io::ErrorKind;
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::Instant;

use super::*;
use crate::core::settings::Fastclose;
use crate::net::relay::buffer::READ_SIZE;
use crate::net::relay::{Cause, Side};
use crate::sys::splice::PIPE_SIZE;

#[test]
fn half_closes_follow_the_bytes_before_them() {
    both_ways(|settings| async move {
        let Rig { mut client, mut server, relay, counts } = rig(&settings, false).await;
        client.write_all(b"question").await.unwrap();
        client.shutdown().await.unwrap();
        let (got, end) = read_all(&mut server).await;
        assert_eq!((got.as_slice(), end.unwrap()), (&b"question"[..], 8));
        let answer = noise(5_000_000, 1);
        let write = async {
            server.write_all(&answer).await.unwrap();
            server.shutdown().await.unwrap();
        };
        let ((), (got, end)) = tokio::join!(write, read_all(&mut client));
        assert!(end.is_ok() && got == answer);
        let end = relay.await.unwrap();
        assert!(matches!(end.cause, Cause::Closed), "{end:?}");
        assert_eq!((end.to_server, end.to_client), (8, 5_000_000));
        assert_eq!((counts.to_server.load(Relaxed), counts.to_client.load(Relaxed)), (8, 5_000_000));
        assert_eq!(counts.pending.load(Relaxed), 0);
    });
}

#[test]
fn a_slow_reader_holds_up_its_sender_and_little_memory() {
    both_ways(|settings| async move {
        let pool = settings.pipes.clone();
        let Rig { mut client, mut server, relay, counts } = rig(&settings, true).await;
        let data = noise(3_000_000, 2);
        let write = async {
            server.write_all(&data).await.unwrap();
            server.shutdown().await.unwrap();
        };
        let read = async {
            let mut got = Vec::new();
            let mut piece = [0; 3000];
            loop {
                match client.read(&mut piece).await.unwrap() {
                    0 => break got,
                    n => got.extend_from_slice(&piece[..n]),
                }
                if got.len() % 7 == 0 {
                    tokio::task::yield_now().await;
                }
            }
        };
        let ((), got) = tokio::join!(write, read);
        assert!(got == data);
        let most = if pool.is_some() { PIPE_SIZE } else { READ_SIZE };
        assert!(counts.most_pending.load(Relaxed) <= most);
        client.shutdown().await.unwrap();
        assert!(matches!(relay.await.unwrap().cause, Cause::Closed));
    });
}

#[test]
fn a_reset_comes_after_the_bytes_before_it() {
    both_ways(|settings| async move {
        for from_client in [true, false] {
            let Rig { client, server, relay, .. } = rig(&settings, false).await;
            let (mut source, mut sink, side) =
                if from_client { (client, server, Side::Client) } else { (server, client, Side::Server) };
            source.write_all(b"cut o").await.unwrap();
            let mut got = [0; 5];
            sink.read_exact(&mut got).await.unwrap();
            reset(source);
            assert_eq!(&got, b"cut o");
            let end = relay.await.unwrap();
            assert!(matches!(&end.cause, Cause::Broken { side: s, .. } if *s == side), "{end:?}");
            let (rest, end) = read_all(&mut sink).await;
            assert!(rest.is_empty());
            assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
        }
    });
}

/// Six bytes each way, after which the relay waits for both.
pub(super) async fn acquaint(client: &mut TcpStream, server: &mut TcpStream) {
    client.write_all(b"before").await.unwrap();
    server.read_exact(&mut [0; 6]).await.unwrap();
    server.write_all(b"before").await.unwrap();
    client.read_exact(&mut [0; 6]).await.unwrap();
}

#[test]
fn a_message_that_meets_a_reset_ends_in_one() {
    both_ways(|settings| async move {
        for to_server in [true, false] {
            let Rig { mut client, mut server, relay, .. } = rig(&settings, false).await;
            acquaint(&mut client, &mut server).await;
            // The relay meets both at once.
            let (mut rest, gone) = if to_server { (client, server) } else { (server, client) };
            assert_eq!(rest.try_write(b"late").unwrap(), 4);
            reset(gone);
            assert_eq!(rest.read(&mut [0]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
            let side = if to_server { Side::Server } else { Side::Client };
            let end = relay.await.unwrap();
            assert!(matches!(end.cause, Cause::Broken { side: s, .. } if s == side), "{end:?}");
            assert_eq!((end.to_server, end.to_client), (6, 6));
        }
    });
}

#[test]
fn a_write_that_meets_a_reset_tells_the_other_direction_before_it_goes_on() {
    both_ways(|settings| async move {
        for from_client in [true, false] {
            let Rig { mut client, mut server, relay, .. } = rig(&settings, false).await;
            acquaint(&mut client, &mut server).await;
            // More than a read, then the reset, whose news goes to the write that the other side makes necessary.
            let (gone, mut rest) = if from_client { (client, server) } else { (server, client) };
            let sent = gone.try_write(&noise(READ_SIZE + 1000, 5)).unwrap();
            assert!(sent > READ_SIZE, "{sent}");
            assert_eq!(rest.try_write(b"late").unwrap(), 4);
            reset(gone);
            let (_, end) = read_all(&mut rest).await;
            assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
            assert!(matches!(relay.await.unwrap().cause, Cause::Broken { .. }));
        }
    });
}

#[test]
fn what_a_broken_sender_had_sent_reaches_a_slow_reader() {
    both_ways(|settings| async move {
        // The client holds little of it, the kernel at the relay's side of it the rest.
        let ((mut client, near_client), (near_server, mut server)) =
            (tcp_pair(true).await, tcp_pair(false).await);
        SockRef::from(&near_client).set_send_buffer_size(200_000).unwrap();
        let counts = Arc::new(RelayCounts::default());
        let relay = tokio::spawn(Relay::new(side(near_client), side(near_server), &settings, counts.clone()));
        let data = noise(100_000, 3);
        server.write_all(&data).await.unwrap();
        while counts.to_client.load(Relaxed) < data.len() {
            tokio::task::yield_now().await;
        }
        reset(server);
        let (got, end) = read_all(&mut client).await;
        assert!(got == data, "{} of {}", got.len(), data.len());
        assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
        relay.await.unwrap();
    });
}

#[test]
fn an_answer_before_the_end_of_the_request_is_delivered() {
    both_ways(|settings| async move {
        let Rig { mut client, mut server, relay, .. } = rig(&settings, false).await;
        let answer = noise(100_000, 4);
        client.write_all(b"begin").await.unwrap();
        server.read_exact(&mut [0; 5]).await.unwrap();
        server.write_all(&answer).await.unwrap();
        drop(server); // Closed for reading, too: what follows meets RST.
        let (mut read_half, mut write_half) = client.split();
        let mut got = Vec::new();
        let chunk = noise(100_000, 5);
        let send = async {
            // Until the relay has closed.
            while write_half.write_all(&chunk).await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        let (end, ()) = tokio::join!(read_half.read_to_end(&mut got), send);
        assert!(got == answer, "{} {end:?}", got.len());
        relay.await.unwrap();
    });
}

#[test]
fn fastclose_ends_both() {
    both_ways(|settings| async move {
        for (up, down) in [(true, false), (false, true)] {
            let settings = RelaySettings { fastclose: Fastclose { up, down }, ..settings.clone() };
            let Rig { mut client, mut server, relay, .. } = rig(&settings, false).await;
            client.write_all(b"to server").await.unwrap();
            server.read_exact(&mut [0; 9]).await.unwrap();
            let (closer, other) = if up { (&mut server, &mut client) } else { (&mut client, &mut server) };
            closer.write_all(b"last words").await.unwrap();
            closer.shutdown().await.unwrap();
            let (got, end) = read_all(other).await;
            assert_eq!((got.as_slice(), end.unwrap()), (&b"last words"[..], 10));
            assert!(matches!(relay.await.unwrap().cause, Cause::Closed));
            assert_eq!(read_all(closer).await.1.unwrap(), 0);
        }
    });
}

#[test]
fn one_end_alone_is_no_end() {
    both_ways(|settings| async move {
        let settings = RelaySettings { fastclose: Fastclose { up: true, down: false }, ..settings };
        let Rig { mut client, mut server, mut relay, .. } = rig(&settings, false).await;
        client.shutdown().await.unwrap();
        assert_eq!(read_all(&mut server).await.1.unwrap(), 0);
        for _ in 0..100 {
            assert!(poll_once(&mut relay).await.is_none());
            tokio::task::yield_now().await;
        }
        server.write_all(b"still here").await.unwrap();
        client.read_exact(&mut [0; 10]).await.unwrap();
        drop(server);
        assert!(matches!(relay.await.unwrap().cause, Cause::Closed));
    });
}

/// Polls once.
async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|cx| match Pin::new(&mut *future).poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

#[test]
fn idle_connections_end_and_busy_ones_do_not() {
    both_ways(|settings| async move {
        const IDLE: Duration = Duration::from_millis(200);
        let settings = RelaySettings { idle: Some(IDLE), ..settings };
        let (mut client, mut server, relay, last) = loop {
            let Rig { mut client, mut server, relay, .. } = rig(&settings, false).await;
            let begin = Instant::now();
            let (mut last, mut longest, mut is_open) = (begin, Duration::ZERO, true);
            while is_open && begin.elapsed() < Duration::from_millis(500) {
                let now = Instant::now();
                is_open =
                    client.write_all(b"x").await.is_ok() && server.read_exact(&mut [0; 1]).await.is_ok();
                longest = longest.max(last.elapsed());
                last = now;
            }
            if is_open {
                break (client, server, relay, last);
            }
            // Busy it was only while the machine did not halt.
            assert!(longest >= IDLE, "it was idle for {longest:?} only");
        };
        let end = relay.await.unwrap();
        assert!(matches!(end.cause, Cause::Idle), "{end:?}");
        assert!(last.elapsed() >= Duration::from_millis(190), "{:?}", last.elapsed());
        assert_eq!(read_all(&mut client).await.1.unwrap(), 0, "nothing was lost: a clean close");
        assert_eq!(read_all(&mut server).await.1.unwrap(), 0);
    });
}

#[test]
fn an_idle_timeout_that_loses_bytes_is_a_reset() {
    both_ways(|settings| async move {
        let settings = RelaySettings { idle: Some(Duration::from_millis(200)), ..settings };
        let Rig { client, mut server, relay, counts } = rig(&settings, true).await;
        let data = noise(20_000_000, 6);
        let write = async move { server.write_all(&data).await };
        let (end, written) = tokio::join!(relay, write);
        assert!(matches!(end.unwrap().cause, Cause::Idle));
        assert!(written.is_err(), "the sender must learn of it");
        assert_eq!(counts.pending.load(Relaxed), 0, "the meter must see the end");
        let mut client = client;
        let (got, end) = read_all(&mut client).await;
        assert!(end.is_err(), "a clean end after {} bytes", got.len());
    });
}

#[test]
fn a_relay_dropped_with_bytes_left_resets() {
    both_ways(|settings| async move {
        let Rig { mut client, mut server, relay, counts } = rig(&settings, true).await;
        let data = noise(20_000_000, 7);
        let write = tokio::spawn(async move { server.write_all(&data).await });
        while counts.pending.load(Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        relay.abort();
        assert!(relay.await.is_err());
        assert!(write.await.unwrap().is_err());
        assert!(read_all(&mut client).await.1.is_err());
        assert_eq!(counts.pending.load(Relaxed), 0);
    });
}

#[test]
fn a_reset_right_behind_bytes_is_no_clean_end() {
    both_ways(|settings| async move {
        let (mut client, mut server, relay) = at_rest(&settings, false, ()).await;
        // Both are there when the relay looks first.
        server.write_all(b"half an ans").await.unwrap();
        reset(server);
        let relay = tokio::spawn(relay);
        assert!(read_all(&mut client).await.1.is_err(), "a truncated stream looks complete");
        assert!(matches!(relay.await.unwrap().cause, Cause::Broken { side: Side::Server, .. }));
    });
}

#[test]
fn an_end_right_behind_bytes_is_one() {
    both_ways(|settings| async move {
        let (mut client, mut server, relay) = at_rest(&settings, false, ()).await;
        server.write_all(b"an answer").await.unwrap();
        server.shutdown().await.unwrap();
        let relay = tokio::spawn(relay);
        assert_eq!(read_all(&mut client).await.0, b"an answer");
        // The other direction goes on.
        client.write_all(b"more").await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(read_all(&mut server).await.0, b"more");
        assert!(matches!(relay.await.unwrap().cause, Cause::Closed));
    });
}

#[test]
fn last_bytes_and_the_end_go_together() {
    run(async {
        let (near, mut far) = tcp_pair(false).await;
        let near = side(near);
        let mut piece = [0; 64];
        // The port has to tell that it may be written.
        assert_eq!(poll_fn(|cx| near.poll_write(cx, b"first")).await.unwrap(), 5);
        assert_eq!(far.read(&mut piece).await.unwrap(), 5);
        assert_eq!(near.try_write(b"last", true).unwrap(), 4);
        // Over loopback what is sent is there at once. Where the two cannot go together, this has gone.
        if std::env::var_os("PEN_PORTABLE").is_none() && cfg!(target_os = "linux") {
            tokio::task::yield_now().await;
            assert_eq!(far.try_read(&mut piece).unwrap_err().kind(), ErrorKind::WouldBlock);
        }
        near.shutdown().unwrap();
        assert_eq!(read_all(&mut far).await.0, b"last");
    });
}

#[test]
fn unix_sockets_on_either_side() {
    both_ways(|settings| async move {
        for size in [100, 3_000_000] {
            let ((mut client, near_client), (near_server, mut server)) =
                (UnixStream::pair().unwrap(), tcp_pair(false).await);
            let near_client = Socket::unix(near_client.into_std().unwrap().into()).unwrap();
            let relay = tokio::spawn(Relay::new(near_client, side(near_server), &settings, ()));
            let (there, back) = (noise(size, 8), noise(size, 9));
            let up = async {
                client.write_all(&there).await.unwrap();
                client.shutdown().await.unwrap();
                let mut got = Vec::new();
                client.read_to_end(&mut got).await.unwrap();
                got
            };
            let down = async {
                let (got, _) = read_all(&mut server).await;
                server.write_all(&back).await.unwrap();
                server.shutdown().await.unwrap();
                got
            };
            let (got_back, got_there) = tokio::join!(up, down);
            assert!(got_there == there && got_back == back);
            assert!(matches!(relay.await.unwrap().cause, Cause::Closed));
        }
    });
}
