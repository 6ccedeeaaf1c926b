//! Relays between real sockets, by copying and by splice.

mod ending;
mod ends;
mod filter;
mod lanes;
mod schedule;
mod tls;
mod urgent;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Waker};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;

use crate::net::filter::{SharedMeter, TrafficMeter};
use crate::net::relay::{Relay, RelayOutcome, RelaySettings};
use crate::net::socket::Socket;
use crate::sys::splice::Pool;

#[derive(Default)]
struct RelayCounts {
    to_client: AtomicUsize,
    to_server: AtomicUsize,
    pending: AtomicUsize,
    most_pending: AtomicUsize,
}

impl TrafficMeter for RelayCounts {
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
    relay: JoinHandle<RelayOutcome>,
    counts: Arc<RelayCounts>,
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

/// A relay's side of what tokio has connected.
fn side(stream: TcpStream) -> Socket {
    Socket::tcp(stream.into_std().unwrap().into()).unwrap()
}

/// The far ends of a client's and a server's connection, and the relay between them, which is not at work yet.
async fn at_rest<M: SharedMeter>(
    settings: &RelaySettings,
    small: bool,
    meter: M,
) -> (TcpStream, TcpStream, Relay<M>) {
    let ((client, near_client), (near_server, server)) = (tcp_pair(small).await, tcp_pair(small).await);
    (client, server, Relay::new(side(near_client), side(near_server), settings, meter))
}

async fn rig(settings: &RelaySettings, small: bool) -> Rig {
    let counts = Arc::new(RelayCounts::default());
    let (client, server, relay) = at_rest(settings, small, counts.clone()).await;
    Rig { client, server, relay: tokio::spawn(relay), counts }
}

/// Messages after which a relay has lanes, and more.
const WARM: usize = 8;

/// A question and its answer, a byte each.
async fn talk(client: &mut TcpStream, server: &mut TcpStream) {
    try_talk(client, server).await.unwrap();
}

/// The same with a relay that may have ended.
async fn try_talk(client: &mut TcpStream, server: &mut TcpStream) -> std::io::Result<()> {
    client.write_all(b"?").await?;
    server.read_exact(&mut [0]).await?;
    server.write_all(b"!").await?;
    client.read_exact(&mut [0]).await?;
    Ok(())
}

fn spliced() -> RelaySettings {
    RelaySettings { pipes: Some(Pool::new(16)), ..RelaySettings::default() }
}

/// Runs a test by copying and by splice, each on a worker of its own.
fn both_ways<F: Future<Output = ()>>(test: impl Fn(RelaySettings) -> F) {
    for settings in [RelaySettings::default(), spliced()] {
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
fn a_relay_that_another_task_takes_over_wakes_that_one() {
    both_ways(|settings| async move {
        let (mut client, mut server, mut relay) = at_rest(&settings, false, ()).await;
        let mut first = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut relay).poll(&mut first).is_pending());
        let relay = tokio::spawn(relay);
        // The relay has to be waiting as the new task before anything comes.
        tokio::task::yield_now().await;
        let mut got = [0; 4];
        client.write_all(b"ping").await.unwrap();
        server.read_exact(&mut got).await.unwrap();
        server.write_all(b"pong").await.unwrap();
        client.read_exact(&mut got).await.unwrap();
        drop((client, server));
        relay.await.unwrap();
    });
}

#[test]
fn a_relay_is_small() {
    let size = size_of::<Relay<Arc<RelayCounts>>>();
    assert!(size <= 400, "{size} bytes");
}
