//! Pen's side: takes a line from each connection, answers, and lets nobody hold up the others.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::core::command::LINE_MAX;
use crate::core::error::Error;
use crate::core::report::pieces::Pieces;
use crate::sys::log;

use super::protocol;

/// How long a client may take to send its line, and to take its reply.
const PATIENCE: Duration = Duration::from_secs(10);
/// Clients at once; more wait to be accepted.
const CLIENTS_MAX: usize = 32;
/// Clients whose reply comes later, so that the others have room.
const WAITING_MAX: usize = 16;
/// Clients that have their reply and are given time to close.
const LEAVING_MAX: usize = 16;
/// How long that is.
const GRACE: Duration = Duration::from_secs(1);
/// How long accepting pauses when the system has no descriptor.
const PAUSE: Duration = Duration::from_millis(500);

/// What a line is answered with.
pub enum Reply {
    /// A text.
    Text(String),
    /// A document, of which a piece is made when the client has taken the one before.
    Pieces(Pieces),
    /// A text that there is later.
    Later(Pin<Box<dyn Future<Output = String>>>),
}

/// Who carries commands out.
pub trait Handler: 'static {
    /// Whether a client may give commands.
    fn permits(&self, client: IpAddr) -> bool;
    /// Carries out a line and answers. Called for one line at a time.
    fn execute(&self, line: &str) -> Reply;
}

/// The control socket.
#[derive(Debug)]
pub enum ControlListener {
    /// On an IP address.
    Tcp(TcpListener),
    /// On a path; who may open the file may give commands.
    Unix(UnixListener),
}

/// Serves the control socket for ever. To be run on a [`tokio::task::LocalSet`].
pub async fn serve(listener: ControlListener, handler: Rc<impl Handler>) {
    let places = Arc::new(Semaphore::new(CLIENTS_MAX));
    let shared =
        Rc::new(Places { leaving: Semaphore::new(LEAVING_MAX), waiting: Semaphore::new(WAITING_MAX) });
    loop {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let accepted = match &listener {
            ControlListener::Tcp(listener) => listener.accept().await.map(|(stream, peer)| {
                let stranger = Some(peer.ip()).filter(|ip| !handler.permits(ip.to_canonical()));
                if let Some(ip) = stranger {
                    log::warn(format_args!("control connection from {ip} refused by control_acl"));
                }
                let shared = Rc::clone(&shared);
                tokio::task::spawn_local(converse(stream, stranger, Rc::clone(&handler), place, shared));
            }),
            ControlListener::Unix(listener) => listener.accept().await.map(|(stream, _)| {
                let shared = Rc::clone(&shared);
                tokio::task::spawn_local(converse(stream, None, Rc::clone(&handler), place, shared));
            }),
        };
        if let Err(error) = accepted {
            log::debug(1, format_args!("control socket: {error}"));
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// What clients share that take longer than others.
struct Places {
    /// Those that have their reply.
    leaving: Semaphore,
    /// Those whose reply comes later.
    waiting: Semaphore,
}

/// Takes a line and answers it, or tells a `stranger` that it may give none: silence would pass for a command carried out.
async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    stranger: Option<IpAddr>,
    handler: Rc<impl Handler>,
    place: OwnedSemaphorePermit,
    places: Rc<Places>,
) {
    let talk = async {
        let reply = match stranger {
            Some(ip) => refused(format!("control_acl does not permit {ip}")),
            None => match tokio::time::timeout(PATIENCE, line(&mut stream)).await {
                Ok(Ok(line)) => handler.execute(&line),
                Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => refused(error.to_string()),
                Ok(Err(error)) => return Err(error),
                Err(_) => refused(format!("no line within {} seconds", PATIENCE.as_secs())),
            },
        };
        match reply {
            Reply::Text(text) => write(&mut stream, &text).await?,
            Reply::Later(reply) => {
                let text = match places.waiting.try_acquire() {
                    Ok(_waiting) => reply.await,
                    Err(_) => {
                        protocol::refusal(&[Error::new(format!("{WAITING_MAX} commands wait already"))])
                    }
                };
                write(&mut stream, &text).await?;
            }
            Reply::Pieces(pieces) => {
                for piece in pieces {
                    write(&mut stream, &piece).await?;
                    // However fast the client takes a long document, others have their turn.
                    tokio::task::yield_now().await;
                }
            }
        }
        stream.shutdown().await
    };
    match talk.await {
        Ok(()) => {
            drop(place);
            // What follows the line is read and dropped: closing over unread bytes would reset the connection, and the
            // client could lose the reply.
            if let Ok(_leaving) = places.leaving.try_acquire() {
                let mut rest = stream.take(LINE_MAX as u64);
                // The client has what it came for.
                _ = tokio::time::timeout(GRACE, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
            }
        }
        Err(error) => log::debug(1, format_args!("control connection: {error}")),
    }
}

/// The reply to who is not served.
fn refused(why: String) -> Reply {
    Reply::Text(protocol::refusal(&[Error::new(why)]))
}

/// Writes some of a reply, which the client takes in good time.
async fn write(stream: &mut (impl AsyncWrite + Unpin), text: &str) -> io::Result<()> {
    let too_slow = || io::Error::new(io::ErrorKind::TimedOut, "the client takes too long");
    tokio::time::timeout(PATIENCE, stream.write_all(text.as_bytes())).await.map_err(|_| too_slow())?
}

/// Reads up to a line feed or the end.
async fn line(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let mut line = Vec::new();
    let mut chunk = [0; 1024];
    loop {
        let got = stream.read(&mut chunk).await?;
        let chunk = chunk.get(..got).unwrap_or_default();
        let end = memchr::memchr(b'\n', chunk);
        line.extend_from_slice(end.map_or(chunk, |end| &chunk[..end]));
        if line.len() > LINE_MAX {
            let text = format!("a line of more than {LINE_MAX} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        if end.is_some() || got == 0 {
            return Ok(String::from_utf8_lossy(&line).into_owned());
        }
    }
}
