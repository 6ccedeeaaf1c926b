//! The listening socket and the connections.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::oneshot;

use crate::sys::connection_slots::{ConnectionSlot, ConnectionSlots};
use crate::sys::pace::Pace;
use crate::sys::{log, runtime};

use super::dashboard::history::{History, PERIOD};
use super::progress::ConnectionProgress;
use super::routes::{self, AdminContext};
use super::source::ReportSource;

/// The maximum number of concurrent connections; for one more, the client that has been idle longest gives way.
pub const CONNECTIONS_MAX: u32 = 64;
/// How long a client may be idle while others wait: hundreds of silent ones must not hold up a request for a second.
const PATIENCE_WHEN_FULL: Duration = Duration::from_millis(100);
/// How long a client may take for a request, and to read more of a response.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most memory for the head of a request, and for the part of a response that is on its way.
const BUFFER_MAX: usize = 64 * 1024;
/// A sample of the servers is followed by a pause of at least so many times the time that it took.
const SHARE: u32 = 9;
/// The number of servers that are looked at in a row.
const SAMPLES: usize = 256;
/// The longest pause between two samples.
const PERIOD_MAX: Duration = Duration::from_secs(10);
/// How long accepting pauses when the system has no descriptors left.
const PAUSE: Duration = Duration::from_millis(500);

/// The listening socket, which is non-blocking.
#[derive(Debug)]
pub enum AdminListener {
    /// On an IP address.
    Tcp(std::net::TcpListener),
    /// On a path; whoever can open the file can send requests.
    Unix(std::os::unix::net::UnixListener),
}

enum AsyncListener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Starts the thread that serves requests; it ends when `stop` is dropped.
///
/// # Errors
/// The system cannot create the thread or its event port.
pub fn start(
    listener: AdminListener,
    source: Arc<impl ReportSource>,
    connections: usize,
    stop: oneshot::Receiver<()>,
) -> io::Result<JoinHandle<()>> {
    let runtime = runtime::current_thread()?;
    let listener = {
        let _within = runtime.enter();
        match listener {
            AdminListener::Tcp(listener) => AsyncListener::Tcp(TcpListener::from_std(listener)?),
            AdminListener::Unix(listener) => AsyncListener::Unix(UnixListener::from_std(listener)?),
        }
    };
    std::thread::Builder::new().name("admin".into()).spawn(move || {
        // Whoever watches pen does not slow its clients.
        runtime::lower_priority();
        runtime.block_on(async {
            tokio::select! {
                () = serve(listener, source, connections) => {}
                // The sender is dropped when pen ends.
                _ = stop => {}
            }
        });
    })
}

/// Keeps the history of the servers up to date.
async fn look(source: Arc<impl ReportSource>, history: Arc<Mutex<History>>) {
    let mut last = Instant::now();
    loop {
        let begin = Instant::now();
        record(&*source, &mut history.lock(), begin - std::mem::replace(&mut last, begin));
        // Thousands of servers, or a busy machine, must leave the thread time for requests.
        let pause = (begin.elapsed() * SHARE).clamp(PERIOD, PERIOD_MAX);
        tokio::time::sleep(pause).await;
    }
}

fn record(source: &impl ReportSource, history: &mut History, passed: Duration) {
    let changes = source.state_changes();
    for (time, change) in &changes {
        history.note(time, change);
    }
    history.look(source.servers(SAMPLES), source.now(), &source.time(), passed);
}

async fn serve(listener: AsyncListener, source: Arc<impl ReportSource>, connections: usize) {
    let history = Arc::<Mutex<History>>::default();
    tokio::spawn(look(Arc::clone(&source), Arc::clone(&history)));
    let context = Arc::new(AdminContext {
        source,
        history,
        pace: Arc::default(),
        scrape_pace: Arc::new(Pace::of_scrapes()),
    });
    let slots = ConnectionSlots::new(connections, PATIENCE_WHEN_FULL);
    loop {
        let error = match &listener {
            AsyncListener::Tcp(listener) => match listener.accept().await {
                Ok((stream, peer)) => {
                    let client = peer.ip().to_canonical();
                    if !context.source.permits(client) {
                        log::debug(1, format_args!("admin connection from {client} refused by admin_acl"));
                        continue;
                    }
                    let loopback = stream.local_addr().is_ok_and(|at| is_loopback(at.ip()));
                    let context = Arc::clone(&context);
                    tokio::spawn(converse(stream, loopback, context, slots.take().await));
                    continue;
                }
                Err(error) => error,
            },
            AsyncListener::Unix(listener) => match listener.accept().await {
                Ok((stream, _)) => {
                    tokio::spawn(converse(stream, false, Arc::clone(&context), slots.take().await));
                    continue;
                }
                Err(error) => error,
            },
        };
        log::debug(1, format_args!("admin listener: {error}"));
        tokio::time::sleep(PAUSE).await;
    }
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// Serves the requests of one connection until its client closes it or stalls.
fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    loopback: bool,
    context: Arc<AdminContext<impl ReportSource>>,
    slot: ConnectionSlot,
) -> impl Future<Output = ()> + Send {
    let progress = ConnectionProgress::begin(slot);
    let steps = progress.clone();
    let service = service_fn(move |request| {
        steps.step();
        let response = routes::answer(&context, &request, loopback, steps.clone());
        std::future::ready(Ok::<_, std::convert::Infallible>(response))
    });
    // The watch below limits the time for a request, including its head.
    let connection = http1::Builder::new()
        .header_read_timeout(None)
        .max_buf_size(BUFFER_MAX)
        // A client may send its last request and FIN together.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service);
    async move {
        match progress.watch(connection, PATIENCE).await {
            Some(Ok(())) => {}
            Some(Err(error)) => log::debug(1, format_args!("admin connection: {error}")),
            None => log::debug(1, format_args!("admin connection: the client takes too long")),
        }
    }
}
