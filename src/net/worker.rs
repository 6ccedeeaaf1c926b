//! A worker: a thread that accepts connections and serves those that it accepted to their end.

use std::io;
use std::net::TcpListener as StdTcpListener;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;

use crate::sys::listen::SocketFile;
use crate::sys::log;

use super::session::{self, Accepted};
use super::shared::Shared;
use super::tls;

/// How long a worker that is out of descriptors waits for a connection to end before it looks again.
const PAUSE: Duration = Duration::from_millis(500);

/// The listening socket. All workers wait on this one socket, each on a duplicate of its descriptor: a second pen on the
/// port fails to bind, and a worker that pauses strands nobody, since the others take from the same queue.
#[derive(Debug)]
pub enum Listening {
    /// On an IP address.
    Tcp(StdTcpListener),
    /// On a path, and the file that stands for it.
    Unix(StdUnixListener, SocketFile),
}

impl Listening {
    /// Takes one client out of the queue.
    ///
    /// # Errors
    /// `WouldBlock` when there is none; else as accept(2).
    fn accept_queued(&self) -> io::Result<Accepted> {
        match self {
            Listening::Tcp(listener) => {
                let (stream, peer) = listener.accept()?;
                stream.set_nonblocking(true)?;
                Ok(Accepted { stream: TcpStream::from_std(stream)?.into(), peer: Some(peer) })
            }
            Listening::Unix(listener, _) => {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                Ok(Accepted { stream: UnixStream::from_std(stream)?.into(), peer: None })
            }
        }
    }
}

/// What the workers are told to listen on; closed when they are to end.
pub type Current = watch::Receiver<Arc<Listening>>;

enum Local {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Local {
    fn new(listening: &Listening) -> io::Result<Self> {
        Ok(match listening {
            Listening::Tcp(listener) => Local::Tcp(TcpListener::from_std(listener.try_clone()?)?),
            Listening::Unix(listener, _) => Local::Unix(UnixListener::from_std(listener.try_clone()?)?),
        })
    }

    async fn accept(&self) -> io::Result<Accepted> {
        Ok(match self {
            Local::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Accepted { stream: stream.into(), peer: Some(peer) }
            }
            Local::Unix(listener) => Accepted { stream: listener.accept().await?.0.into(), peer: None },
        })
    }
}

/// Starts a worker.
///
/// # Errors
/// When the system gives no thread or no event port.
pub fn start(number: usize, shared: Arc<Shared>, current: Current) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name(format!("worker {number}")).spawn(move || {
        tls::this_is_worker(number);
        runtime.block_on(work(shared, current));
        // Connections end with the runtime.
    })
}

async fn work(shared: Arc<Shared>, mut current: Current) {
    loop {
        let listening = Arc::clone(&current.borrow_and_update());
        let local = match Local::new(&listening) {
            Ok(local) => local,
            Err(error) => {
                log::error(format_args!("a worker cannot listen: {error}"));
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let moved = tokio::select! {
            moved = current.changed() => moved,
            () = accept_all(&shared, &local) => Ok(()),
        };
        if moved.is_err() {
            return;
        }
        drop(local);
        drain(&shared, &listening).await;
    }
}

/// Serves those who stand in the queue of an address that pen leaves.
async fn drain(shared: &Arc<Shared>, listening: &Listening) {
    loop {
        let ticket = shared.registry.ticket(|| shared.snapshot.load().conn_max).await;
        match listening.accept_queued() {
            Ok(accepted) => session::start(shared, accepted, ticket),
            Err(_) => return,
        }
    }
}

/// Accepts for as long as it is let.
async fn accept_all(shared: &Arc<Shared>, local: &Local) {
    static FULL: log::Condition = log::Condition::new();
    let mut batch = 0;
    loop {
        let ticket = shared.registry.ticket(|| shared.snapshot.load().conn_max).await;
        match local.accept().await {
            Ok(accepted) => {
                FULL.end(format_args!("accepting connections again"));
                session::start(shared, accepted, ticket);
                batch += 1;
                if batch >= shared.snapshot.load().multi_accept {
                    batch = 0;
                    tokio::task::yield_now().await;
                }
            }
            Err(error) if is_shortage(&error) => {
                FULL.begin(format_args!("no new connections for now: {error}"));
                drop(ticket);
                _ = tokio::time::timeout(PAUSE, shared.registry.freed()).await;
            }
            // The client is gone already, as accept(2) says; the next one may be there.
            Err(error) => {
                log::debug(1, format_args!("accept: {error}"));
                tokio::task::yield_now().await;
            }
        }
    }
}

/// Whether the system lacks what a further connection needs.
fn is_shortage(error: &io::Error) -> bool {
    let codes = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM, libc::EAGAIN];
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}
