//! Pen's side: reads a line from each connection and replies, so that no client delays the others.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::UCred;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;

use crate::core::command::LINE_MAX;
use crate::core::error::Error;
use crate::core::report::pieces::Pieces;
use crate::sys::connection_slots::{ConnectionSlot, ConnectionSlots};
use crate::sys::{log, runtime};

use super::long_reply::LongReplies;
use super::owed_reply::{self, ClientStream};
use super::protocol;
use super::waiting_clients::WaitingClients;

/// How long a client may take to send its line, and to read its reply.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a client may be idle while others wait for its slot.
const PATIENCE_WHEN_FULL: Duration = Duration::from_millis(250);
/// The number of clients that have their reply and are given time to close.
const LEAVING_MAX: usize = 16;
/// How long they are given.
const GRACE: Duration = Duration::from_secs(1);
/// How long accepting pauses when the system has no descriptors left.
const PAUSE: Duration = Duration::from_millis(500);

/// How much of a file is read at a time.
const CHUNK: usize = 16 * 1024;

/// The reply to a line.
pub enum ControlReply {
    /// Text.
    Text(String),
    /// Text of any length; a piece is made when the client has read the one before.
    Pieces(Pieces),
    /// Text that will be ready later.
    Later(Pin<Box<dyn Future<Output = String>>>),
    /// The rest of a file, which is read as the client reads the reply.
    File(File),
}

/// The sender of a command, as the log names it.
#[derive(Debug)]
pub enum Commander {
    /// A client at this address.
    Remote(SocketAddr),
    /// A process of this machine, identified as far as the system allows.
    Local(Option<UCred>),
}

impl fmt::Display for Commander {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Commander::Remote(address) => address.fmt(f),
            Commander::Local(Some(process)) => {
                write!(f, "uid {}", process.uid())?;
                process.pid().map_or(Ok(()), |pid| write!(f, " pid {pid}"))
            }
            Commander::Local(None) => f.write_str("a local process"),
        }
    }
}

/// Carries out commands.
pub trait Handler: 'static {
    /// Whether a client may give commands.
    fn permits(&self, client: IpAddr) -> bool;
    /// Carries out a line and replies. Other lines are handled while it waits.
    fn execute(&self, line: &str, commander: &Commander) -> impl Future<Output = ControlReply>;
}

/// The control socket.
#[derive(Debug)]
pub enum ControlListener {
    /// On an IP address.
    Tcp(TcpListener),
    /// On a path; whoever can open the file can give commands.
    Unix(UnixListener),
}

/// Serves the control socket forever, `clients_max` clients at a time. Must run on a [`tokio::task::LocalSet`].
pub async fn serve(listener: ControlListener, handler: Rc<impl Handler>, clients_max: usize) {
    let slots = ConnectionSlots::new(clients_max, PATIENCE_WHEN_FULL);
    let common = Rc::new(Common {
        leaving: Semaphore::new(LEAVING_MAX.min(clients_max)),
        waiting: WaitingClients::among(clients_max),
        long_replies: LongReplies::default(),
    });
    loop {
        let accepted = match &listener {
            ControlListener::Tcp(listener) => {
                listener.accept().await.map(|(stream, peer)| (AnyStream::Tcp(stream), Some(peer)))
            }
            ControlListener::Unix(listener) => {
                listener.accept().await.map(|(stream, _)| (AnyStream::Unix(stream), None))
            }
        };
        match accepted {
            Ok((stream, peer)) => {
                let peer = peer.map(|peer| SocketAddr::new(peer.ip().to_canonical(), peer.port()));
                let stranger = peer.filter(|peer| !handler.permits(peer.ip()));
                if let Some(peer) = stranger {
                    log::warn(format_args!("control connection from {peer} refused by control_acl"));
                }
                let stranger = stranger.map(|peer| peer.ip());
                let commander = match (&stream, peer) {
                    (AnyStream::Unix(stream), _) => Commander::Local(stream.peer_cred().ok()),
                    (AnyStream::Tcp(_), Some(peer)) => Commander::Remote(peer),
                    (AnyStream::Tcp(_), None) => Commander::Local(None),
                };
                let slot = slots.take().await;
                let (handler, common) = (Rc::clone(&handler), Rc::clone(&common));
                match stream {
                    AnyStream::Tcp(stream) => {
                        _ = tokio::task::spawn_local(converse(
                            stream, commander, stranger, handler, slot, common,
                        ));
                    }
                    AnyStream::Unix(stream) => {
                        _ = tokio::task::spawn_local(converse(
                            stream, commander, stranger, handler, slot, common,
                        ));
                    }
                }
            }
            Err(error) => {
                log::debug(1, format_args!("control socket: {error}"));
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// A client's connection.
enum AnyStream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// What all clients share: limits for those that stay longer than others, and who makes long replies.
struct Common {
    /// For clients that have their reply.
    leaving: Semaphore,
    /// For clients whose reply comes later.
    waiting: WaitingClients,
    long_replies: LongReplies,
}

/// Reads a line and replies. A `stranger` is told that it may give no commands: silence would look like success.
async fn converse(
    mut stream: impl ClientStream,
    commander: Commander,
    stranger: Option<IpAddr>,
    handler: Rc<impl Handler>,
    slot: ConnectionSlot,
    common: Rc<Common>,
) {
    let is_local = matches!(commander, Commander::Local(_));
    owed_reply::is_owed(&stream);
    let talk = async {
        let reply = match stranger {
            Some(ip) => refused(format!("control_acl does not permit {ip}")),
            None => {
                let line = tokio::select! {
                    line = tokio::time::timeout(PATIENCE, owed_reply::line(&mut stream)) => line,
                    () = slot.evicted() => Ok(Err(owed_reply::invalid("no line, and others wait".into()))),
                };
                slot.works();
                match line {
                    Ok(Ok(line)) => {
                        owed_reply::for_client(stream.as_fd(), handler.execute(&line, &commander)).await
                    }
                    Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
                        refused(error.to_string())
                    }
                    Ok(Err(error)) => return Err(error),
                    Err(_) => refused(format!("no line within {} seconds", PATIENCE.as_secs())),
                }
            }
        };
        match reply {
            ControlReply::Text(text) => {
                ReplyWriter { stream: &mut stream, slot: &slot }.write_whole(&text).await?;
            }
            ControlReply::Later(text) => {
                let client = stream.as_fd();
                let text = common.waiting.wait(text, client, is_local);
                let text = owed_reply::for_client(client, text).await?;
                ReplyWriter { stream: &mut stream, slot: &slot }.write_whole(&text).await?;
            }
            ControlReply::Pieces(pieces) => {
                let mut writer = ReplyWriter { stream: &mut stream, slot: &slot };
                let mut reply = common.long_replies.reply(pieces);
                while let Some(piece) = reply.next().await? {
                    writer.write(piece.as_bytes()).await?;
                }
                writer.finish();
            }
            ControlReply::File(file) => {
                ReplyWriter { stream: &mut stream, slot: &slot }.write_file(file).await?;
            }
        }
        stream.shutdown().await
    };
    match talk.await {
        Ok(()) => {
            drop(slot);
            // Anything after the line is read and dropped: closing a connection with unread bytes would reset it, and
            // the client could lose the reply.
            if let Ok(_leaving) = common.leaving.try_acquire() {
                let mut rest = stream.take(LINE_MAX as u64);
                // The client already has its reply.
                _ = tokio::time::timeout(GRACE, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
            }
        }
        Err(error) => log::debug(1, format_args!("control connection: {error}")),
    }
}

/// The reply to a client that is not served.
fn refused(why: String) -> ControlReply {
    ControlReply::Text(protocol::refusal(&[Error::new(why)]))
}

/// Writes a reply as long as the client reads it in time.
struct ReplyWriter<'a, S> {
    stream: &'a mut S,
    slot: &'a ConnectionSlot,
}

impl<S: ClientStream> ReplyWriter<'_, S> {
    /// All of the reply is written.
    fn finish(self) {
        owed_reply::is_whole(self.stream);
    }

    /// Writes the reply.
    async fn write_whole(mut self, text: &str) -> io::Result<()> {
        self.write(text.as_bytes()).await?;
        self.finish();
        Ok(())
    }

    /// Writes part of the reply.
    async fn write(&mut self, text: &[u8]) -> io::Result<()> {
        let too_slow = || io::Error::new(io::ErrorKind::TimedOut, "the client takes too long");
        self.slot.waits_for_client();
        let written = tokio::select! {
            written = tokio::time::timeout(PATIENCE, self.stream.write_all(text)) => written.map_err(|_| too_slow())?,
            () = self.slot.evicted() => Err(too_slow()),
        };
        self.slot.works();
        written
    }

    /// Writes the rest of a file, which is the reply. It is read on a thread that may block on the disk.
    async fn write_file(mut self, mut file: File) -> io::Result<()> {
        loop {
            let read = move || {
                let mut chunk = vec![0; CHUNK];
                let got = file.read(&mut chunk)?;
                chunk.truncate(got);
                io::Result::Ok((file, chunk))
            };
            let (back, chunk) = runtime::blocking(read).await??;
            if chunk.is_empty() {
                self.finish();
                return Ok(());
            }
            self.write(&chunk).await?;
            file = back;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::task::LocalSet;

    use super::*;

    /// Its replies are longer than any buffer of the system.
    struct Talker;

    impl Handler for Talker {
        fn permits(&self, _: IpAddr) -> bool {
            true
        }

        async fn execute(&self, line: &str, _: &Commander) -> ControlReply {
            match line {
                "long" => ControlReply::Text("x".repeat(100_000_000)),
                "never" => std::future::pending().await,
                "late" => ControlReply::Later(Box::pin(std::future::pending())),
                _ => ControlReply::Text("short".into()),
            }
        }
    }

    #[tokio::test]
    async fn who_waits_for_a_reply_learns_that_pen_has_ended() {
        for line in ["never\n", "late\n"] {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
            let address = listener.local_addr().expect("bound");
            let local = LocalSet::new();
            let served = serve(ControlListener::Tcp(listener), Rc::new(Talker), 2);
            let mut client = TcpStream::connect(address).await.expect("connects");
            client.write_all(line.as_bytes()).await.expect("sent");
            let other = async {
                // It is served after the first one.
                let mut other = TcpStream::connect(address).await.expect("connects");
                other.write_all(b"other\n").await.expect("sent");
                other.read_to_string(&mut String::new()).await.expect("served")
            };
            local
                .run_until(async {
                    tokio::select! {
                        () = served => {}
                        length = other => assert_eq!(length, 5),
                    }
                })
                .await;
            drop(local);
            let mut reply = String::new();
            client.read_to_string(&mut reply).await.expect("no reset");
            assert_eq!(reply, "error: pen has ended before it could reply\n");
        }
    }

    /// Serves a client that does not read its long reply while another one waits for its slot.
    async fn cut_off<S: ClientStream>(listener: ControlListener, connect: impl AsyncFn() -> io::Result<S>) {
        let serve = async move {
            let served = serve(listener, Rc::new(Talker), 1);
            let clients = async {
                let mut slow = connect().await.expect("connects");
                slow.write_all(b"long\n").await.expect("sent");
                let mut next = connect().await.expect("connects");
                next.write_all(b"other\n").await.expect("sent");
                let mut reply = String::new();
                next.read_to_string(&mut reply).await.expect("served when the first one has taken too long");
                assert_eq!(reply, "short");
                let error = slow.read_to_end(&mut Vec::new()).await.expect_err("not the end of the reply");
                assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
            };
            tokio::select! {
                () = served => {}
                () = clients => {}
            }
        };
        LocalSet::new().run_until(serve).await;
    }

    #[tokio::test]
    async fn a_reply_that_is_cut_off_does_not_look_like_a_short_one() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        cut_off(ControlListener::Tcp(listener), || TcpStream::connect(address)).await;
        // Elsewhere a Unix socket tells nothing.
        if cfg!(target_os = "linux") {
            let directory = tempfile::tempdir().expect("a directory");
            let path = directory.path().join("control");
            let listener = UnixListener::bind(&path).expect("bound");
            cut_off(ControlListener::Unix(listener), || UnixStream::connect(&path)).await;
        }
    }
}
