//! Relays between real sockets, by copying and by splice.

use std::future::Future;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use proptest::prelude::*;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio::task::JoinHandle;

use super::*;
use crate::net::buffer::READ_SIZE;
use crate::net::hooks::Verdict;
use crate::sys::splice::PIPE_SIZE;

#[derive(Default)]
struct Counts {
    to_client: AtomicUsize,
    to_server: AtomicUsize,
    pending: AtomicUsize,
    most_pending: AtomicUsize,
}

impl Meter for Counts {
    fn to_client(&self, bytes: usize) {
        self.to_client.fetch_add(bytes, Relaxed);
    }

    fn to_server(&self, bytes: usize) {
        self.to_server.fetch_add(bytes, Relaxed);
    }

    fn pending(&self, to_server: usize, to_client: usize) {
        self.pending.store(to_server + to_client, Relaxed);
        self.most_pending.fetch_max(to_server.max(to_client), Relaxed);
    }
}

/// A relay at work, and the far ends of its two connections.
struct Rig {
    client: TcpStream,
    server: TcpStream,
    relay: JoinHandle<End>,
    counts: Arc<Counts>,
}

/// Both ends of a TCP connection; with `small`, sockets that hold a few KiB only.
async fn tcp_pair(small: bool) -> (TcpStream, TcpStream) {
    let (near, listener) = (TcpSocket::new_v4().unwrap(), TcpSocket::new_v4().unwrap());
    if small {
        for socket in [&near, &listener] {
            socket.set_send_buffer_size(8192).unwrap();
            socket.set_recv_buffer_size(8192).unwrap();
            // With loopback's 64 KiB, each of them would wait for timers.
            SockRef::from(socket).set_tcp_mss(1000).unwrap();
        }
    }
    listener.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let listener = listener.listen(1).unwrap();
    let (near, far) = tokio::join!(near.connect(listener.local_addr().unwrap()), listener.accept());
    let (near, far) = (near.unwrap(), far.unwrap().0);
    near.set_nodelay(true).unwrap();
    far.set_nodelay(true).unwrap();
    (near, far)
}

async fn rig(settings: &Settings, small: bool) -> Rig {
    let ((client, near_client), (near_server, server)) = (tcp_pair(small).await, tcp_pair(small).await);
    let counts = Arc::new(Counts::default());
    let relay = tokio::spawn(Relay::new(near_client, near_server, settings, counts.clone()));
    Rig { client, server, relay, counts }
}

fn spliced() -> Settings {
    Settings { pipes: Some(Pool::new(16)), ..Settings::default() }
}

/// Runs a test by copying and by splice, each on a worker of its own.
fn both_ways<F: Future<Output = ()>>(test: impl Fn(Settings) -> F) {
    for settings in [Settings::default(), spliced()] {
        run(test(settings));
    }
}

fn run<F: Future>(test: F) -> F::Output {
    let worker = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    worker.block_on(async { tokio::time::timeout(Duration::from_secs(60), test).await.expect("hangs") })
}

/// Bytes that show any loss, doubling or disorder.
fn noise(len: usize, seed: u32) -> Vec<u8> {
    (0..len as u32).map(|i| ((i ^ seed).wrapping_mul(2_654_435_761) >> 23) as u8).collect()
}

async fn read_all(stream: &mut TcpStream) -> (Vec<u8>, std::io::Result<usize>) {
    let mut got = Vec::new();
    let end = stream.read_to_end(&mut got).await;
    (got, end)
}

fn reset(stream: TcpStream) {
    stream.set_zero_linger().unwrap();
}

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

#[test]
fn what_a_broken_sender_had_sent_reaches_a_slow_reader() {
    both_ways(|settings| async move {
        let Rig { mut client, mut server, relay, counts } = rig(&settings, false).await;
        let data = noise(400_000, 3);
        server.write_all(&data).await.unwrap();
        // All of it is with the relay, or beyond it, before the reset.
        while crate::sys::socket::unacknowledged(std::os::fd::AsFd::as_fd(&server)) != Some(0)
            || counts.to_client.load(Relaxed) < data.len()
        {
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
            let settings = Settings { fastclose: Fastclose { up, down }, ..settings.clone() };
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
        let settings = Settings { fastclose: Fastclose { up: true, down: false }, ..settings };
        let Rig { mut client, mut server, mut relay, .. } = rig(&settings, false).await;
        client.shutdown().await.unwrap();
        assert_eq!(read_all(&mut server).await.1.unwrap(), 0);
        for _ in 0..100 {
            assert!(futures_poll(&mut relay).await.is_none());
            tokio::task::yield_now().await;
        }
        server.write_all(b"still here").await.unwrap();
        client.read_exact(&mut [0; 10]).await.unwrap();
        drop(server);
        assert!(matches!(relay.await.unwrap().cause, Cause::Closed));
    });
}

/// Polls once.
async fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|cx| match Pin::new(&mut *future).poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

#[test]
fn idle_connections_end_and_busy_ones_do_not() {
    both_ways(|settings| async move {
        let settings = Settings { idle: Some(Duration::from_millis(200)), ..settings };
        let Rig { mut client, mut server, relay, .. } = rig(&settings, false).await;
        let begin = Instant::now();
        let mut last = begin;
        while begin.elapsed() < Duration::from_millis(500) {
            last = Instant::now();
            client.write_all(b"x").await.unwrap();
            server.read_exact(&mut [0; 1]).await.unwrap();
        }
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
        let settings = Settings { idle: Some(Duration::from_millis(200)), ..settings };
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
fn unix_sockets_on_either_side() {
    both_ways(|settings| async move {
        for size in [100, 3_000_000] {
            let ((mut client, near_client), (near_server, mut server)) =
                (UnixStream::pair().unwrap(), tcp_pair(false).await);
            let relay = tokio::spawn(Relay::new(near_client, near_server, &settings, ()));
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

/// Puts `<` before and `>` after every chunk, and the `>` of the last only at the end.
#[derive(Default)]
struct Brackets {
    open: bool,
    most: usize,
}

impl Inspect for Brackets {
    fn max_read(&self) -> usize {
        self.most
    }

    fn request(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Verdict {
        assert!(chunk.len() <= self.most && out.is_empty());
        if std::mem::replace(&mut self.open, true) {
            out.push(b'>');
        }
        out.push(b'<');
        out.extend_from_slice(chunk);
        Verdict::Replace
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        out.push(b'>');
    }
}

#[test]
fn an_inspector_rewrites_and_finishes() {
    both_ways(|settings| async move {
        let ((mut client, near_client), (near_server, mut server)) =
            (tcp_pair(true).await, tcp_pair(true).await);
        let inspector = Box::new(Brackets { open: false, most: 1000 });
        let relay = tokio::spawn(Relay::new(near_client, near_server, &settings, ()).inspected(inspector));
        let data = vec![b'x'; 300_000];
        let write = async {
            client.write_all(&data).await.unwrap();
            client.shutdown().await.unwrap();
        };
        let ((), (got, _)) = tokio::join!(write, read_all(&mut server));
        assert!(got.starts_with(b"<x") && got.ends_with(b"x>"));
        assert_eq!(got.iter().filter(|b| **b == b'x').count(), data.len());
        let chunks = got.iter().filter(|b| **b == b'<').count();
        assert!(chunks >= 300 && chunks == got.iter().filter(|b| **b == b'>').count());
        drop(server);
        relay.await.unwrap();
    });
}

/// Wants to see 10 bytes, then has a body of `body` bytes, and so on; counts what it sees.
struct Bodies {
    body: u64,
    left: u64,
    seen: Arc<AtomicUsize>,
    answers: Arc<AtomicUsize>,
}

impl Inspect for Bodies {
    fn request(&mut self, mut chunk: &[u8], out: &mut Vec<u8>) -> Verdict {
        out.extend_from_slice(chunk);
        self.seen.fetch_add(chunk.len(), Relaxed);
        while !chunk.is_empty() {
            let n = chunk.len().min(if self.left == 0 { 10 } else { self.left as usize });
            if self.left == 0 {
                assert_eq!(&chunk[..n], b"0123456789", "out of step");
                self.left = self.body;
            } else {
                self.left -= n as u64;
            }
            chunk = &chunk[n..];
        }
        Verdict::Pass
    }

    fn finish(&mut self, _: &mut Vec<u8>) {}

    fn opaque(&self) -> u64 {
        self.left
    }

    fn skip(&mut self, bytes: u64) {
        self.left = self.left.checked_sub(bytes).expect("more skipped than allowed");
    }

    fn wants_response(&self) -> bool {
        self.answers.load(Relaxed) < 100_000
    }

    fn response(&mut self, chunk: &[u8]) {
        self.answers.fetch_add(chunk.len(), Relaxed);
    }
}

#[test]
fn bodies_pass_unseen_and_heads_do_not() {
    both_ways(|settings| async move {
        let ((mut client, near_client), (near_server, mut server)) =
            (tcp_pair(false).await, tcp_pair(false).await);
        let (seen, answers) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let inspector = Bodies { body: 2_000_000, left: 0, seen: seen.clone(), answers: answers.clone() };
        let relay =
            tokio::spawn(Relay::new(near_client, near_server, &settings, ()).inspected(Box::new(inspector)));
        let mut data = Vec::new();
        for seed in 0..5 {
            data.extend_from_slice(b"0123456789");
            data.extend(noise(2_000_000, seed));
        }
        let answer = noise(1_000_000, 10);
        let (mut client_read, mut client_write) = client.split();
        let (mut server_read, mut server_write) = server.split();
        let (mut got_data, mut got_answer) = (Vec::new(), Vec::new());
        tokio::join!(
            async {
                client_write.write_all(&data).await.unwrap();
                client_write.shutdown().await.unwrap();
            },
            async {
                server_write.write_all(&answer).await.unwrap();
                server_write.shutdown().await.unwrap();
            },
            async { server_read.read_to_end(&mut got_data).await.unwrap() },
            async { client_read.read_to_end(&mut got_answer).await.unwrap() },
        );
        assert!(got_data == data && got_answer == answer);
        assert!(seen.load(Relaxed) < 2_000_000, "{} seen", seen.load(Relaxed));
        assert!(answers.load(Relaxed) >= 100_000);
        relay.await.unwrap();
    });
}

#[test]
fn a_relay_is_small() {
    let size = size_of::<Relay<Arc<Counts>>>();
    assert!(size <= 400, "{size} bytes");
}

/// What one peer does next.
#[derive(Clone, Copy, Debug)]
enum Act {
    Write(usize),
    Read(usize),
    Yield(u8),
    HalfClose,
    Reset,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        6 => (1_usize..200_000).prop_map(Act::Write),
        2 => (1_usize..2_000).prop_map(Act::Write),
        6 => (1_usize..200_000).prop_map(Act::Read),
        3 => (1_u8..20).prop_map(Act::Yield),
        1 => Just(Act::HalfClose),
    ];
    (prop::collection::vec(act, 0..20), prop::bool::weighted(0.25)).prop_map(|(mut acts, reset)| {
        if reset {
            acts.push(Act::Reset);
        }
        acts
    })
}

/// What one peer did and saw.
#[derive(Default)]
struct Story {
    sent: usize,
    got: Vec<u8>,
    /// The other's end was a clean one; an error; or not seen, after an own reset.
    clean: Option<bool>,
    /// A write met the news of a reset, after which read(2) tells nothing of it.
    failed: bool,
    ended: bool,
    reset: bool,
}

/// Acts, then ends its stream and reads to the other's end.
async fn act(stream: TcpStream, acts: Vec<Act>, data: &[u8]) -> Story {
    let (mut read, mut write) = stream.into_split();
    let mut story = Story::default();
    let mut piece = vec![0; 200_000];
    for act in acts {
        match act {
            Act::Write(n) if !story.ended && !story.failed => {
                let n = n.min(data.len() - story.sent);
                // Reads too while it writes, or both sides could wait for each other.
                let bytes = &data[story.sent..story.sent + n];
                let mut at = 0;
                while at < bytes.len() {
                    tokio::select! {
                        result = write.write(&bytes[at..]) => match result {
                            Ok(n) => at += n,
                            Err(_) => { story.failed = true; break; }
                        },
                        result = read.read(&mut piece), if story.clean.is_none() => match result {
                            Ok(0) => story.clean = Some(true),
                            Ok(n) => story.got.extend_from_slice(&piece[..n]),
                            Err(_) => { story.clean = Some(false); story.failed = true; break; }
                        },
                    }
                }
                story.sent += at;
            }
            Act::Read(n) if story.clean.is_none() => {
                tokio::task::yield_now().await;
                match read.try_read(&mut piece[..n]) {
                    Ok(0) => story.clean = Some(true),
                    Ok(n) => story.got.extend_from_slice(&piece[..n]),
                    Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                    Err(_) => story.clean = Some(false),
                }
            }
            Act::Yield(n) => {
                for _ in 0..n {
                    tokio::task::yield_now().await;
                }
            }
            Act::HalfClose if !story.ended => {
                story.ended = write.shutdown().await.is_ok();
            }
            Act::Reset => {
                reset(read.reunite(write).expect("the same stream"));
                story.reset = true;
                return story;
            }
            _ => {}
        }
    }
    if !story.ended {
        story.ended = write.shutdown().await.is_ok();
    }
    while story.clean.is_none() {
        match read.read(&mut piece).await {
            Ok(0) => story.clean = Some(true),
            Ok(n) => story.got.extend_from_slice(&piece[..n]),
            Err(_) => story.clean = Some(false),
        }
    }
    story
}

/// What must be true of the bytes from `source` to `sink`, of which the relay says it delivered `delivered`.
fn check(source: &Story, sink: &Story, data: &[u8], delivered: usize) {
    assert!(sink.got.len() <= source.sent && data.starts_with(&sink.got), "lost, doubled or disordered");
    if !sink.reset {
        assert!(sink.got.len() <= delivered);
    }
    if sink.clean == Some(true) && !sink.failed {
        assert_eq!(sink.got.len(), source.sent, "a clean end after a part");
        assert!(source.ended, "an end that nobody sent");
    }
    if !source.reset && !sink.reset {
        assert_eq!(sink.clean, Some(true), "an error that nobody caused");
        assert_eq!(sink.got.len(), delivered);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_schedule(client_acts in acts(), server_acts in acts(), small: bool, splice: bool) {
        let settings = if splice { spliced() } else { Settings::default() };
        static DATA: LazyLock<(Vec<u8>, Vec<u8>)> = LazyLock::new(|| (noise(4_000_000, 11), noise(4_000_000, 12)));
        let (up, down) = &*DATA;
        run(async {
            let Rig { client, server, relay, counts } = rig(&settings, small).await;
            let (at_client, at_server, end) =
                tokio::join!(act(client, client_acts, up), act(server, server_acts, down), relay);
            let end = end.unwrap();
            check(&at_client, &at_server, up, end.to_server as usize);
            check(&at_server, &at_client, down, end.to_client as usize);
            assert_eq!(counts.pending.load(Relaxed), 0);
            assert!(counts.most_pending.load(Relaxed) <= if splice { PIPE_SIZE } else { READ_SIZE });
            if !at_client.reset && !at_server.reset {
                assert!(matches!(end.cause, Cause::Closed), "{:?}", end);
            }
        });
    }
}
