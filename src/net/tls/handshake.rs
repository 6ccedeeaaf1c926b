//! The TLS handshake with a client.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use openssl::ssl::{Error, ErrorCode, NameType, SslRef, SslVersion};
use openssl::x509::X509VerifyResult;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tokio_openssl::SslStream;

use crate::core::Millis;
use crate::core::error::SystemReason;
use crate::core::hello_framing::{HELLO_MAX, HelloFraming, HelloProgress};
use crate::core::tls_session::TlsSession;
use crate::net::client_name::ClientName;
use crate::net::first_bytes::{Undecided, read_until};
use crate::net::socket::Socket;
use crate::sys::log;
use crate::sys::tls::{Method, forget_exchanged_keys};
use crate::sys::tls_handshake::ServerHandshake;

use super::server::TlsServer;
use super::sni::SniSlot;
use super::worker::worker;

/// The version of a handshake that ended before there was one.
const NO_VERSION: &str = "unknown";

/// How old a handshake that waits for its client is when its memory is given back: older than most become.
const RELEASE_AFTER: Duration = Duration::from_millis(250);

/// How long a rejected client may take to read the alert.
const LINGER: Duration = Duration::from_secs(2);

thread_local! {
    /// Only one step of one handshake at a time; all other connections of the worker are served before the next.
    static TURN: Arc<Semaphore> = Arc::new(Semaphore::new(1));
}

/// A handshake to be made.
#[derive(Debug, Clone, Copy)]
pub(in crate::net) struct Handshake {
    /// The client, for the log.
    pub(in crate::net) client: ClientName,
    /// How long it may take.
    pub(in crate::net) limit: Millis,
}

/// Why there is no ClientHello.
enum NoHello {
    /// Something else came: the client is sent this alert, if any.
    Refused(Option<u8>),
    /// It did not come, or not in time.
    Missing,
}

/// What pen itself answers to a client before the library sees anything: a fatal alert (RFC 8446 6).
fn alert(description: u8) -> [u8; 7] {
    const ALERT: u8 = 21;
    const FATAL: u8 = 2;
    [ALERT, 3, 3, 0, 2, FATAL, description]
}

/// Reads the ClientHello, and puts back all that was read. Until it has come as a whole the connection uses no state of the
/// library, which is larger than what most clients send in all. What is not TLS, or ends early, is left to the library.
///
/// # Errors
/// There is none, and this was logged.
async fn receive_hello(tcp: &mut Socket, Handshake { client, limit }: Handshake) -> Result<(), NoHello> {
    let (mut bytes, mut framing) = (Vec::new(), HelloFraming::default());
    let found = read_until(tcp, &mut bytes, (HELLO_MAX, limit), |bytes, ended| match framing.look(bytes) {
        HelloProgress::Partial if !ended => None,
        HelloProgress::Refused(alert) => Some(Err(alert)),
        HelloProgress::Partial | HelloProgress::Whole | HelloProgress::Foreign => Some(Ok(())),
    });
    match found.await {
        Ok(Ok(())) => {
            if !bytes.is_empty() {
                tcp.put_back(bytes);
            }
            Ok(())
        }
        Ok(Err(alert)) => {
            log::debug(1, format_args!("TLS: {client}: handshake failed: not a ClientHello, or too long"));
            Err(NoHello::Refused(alert))
        }
        Err(Undecided::Late) => {
            late(client, limit);
            Err(NoHello::Missing)
        }
        Err(Undecided::Broken(error)) => {
            log::debug(1, format_args!("TLS: {client}: handshake failed: {}", SystemReason(&error)));
            Err(NoHello::Missing)
        }
    }
}

fn late(client: ClientName, limit: Millis) {
    log::debug(1, format_args!("TLS: {client}: no handshake in {:?}", Duration::from_millis(limit)));
}

/// Performs the handshake with a client once its ClientHello has come.
///
/// # Errors
/// The TLS version that the handshake had reached when it failed or timed out. The client was sent an alert, as far as
/// TLS has one for the reason, and the failure was logged.
pub(in crate::net) async fn accept(
    server: &TlsServer,
    mut tcp: Socket,
    how: Handshake,
) -> Result<SslStream<Socket>, &'static str> {
    // The answers are short writes: Nagle's algorithm would delay each until the client has acknowledged the one before.
    // Fails only on a broken socket, which is detected when it is read.
    _ = SockRef::from(&tcp).set_tcp_nodelay(true);
    let deadline = Instant::now() + Duration::from_millis(how.limit);
    match receive_hello(&mut tcp, how).await {
        Ok(()) => {}
        Err(NoHello::Refused(description)) => {
            let alert = description.map(alert);
            Box::pin(refuse(&mut tcp, deadline, alert.as_ref().map_or(&[], |alert| alert))).await;
            return Err(NO_VERSION);
        }
        Err(NoHello::Missing) => return Err(NO_VERSION),
    }
    let ssl = server.current().new_ssl();
    let (mut handshake, slot) = match ssl.and_then(|(ssl, slot)| Ok((SslStream::new(ssl, tcp)?, slot))) {
        Ok((stream, slot)) => (ServerHandshake::new(stream), slot),
        Err(errors) => {
            log::error(format_args!("TLS: no handshake is possible: {errors}"));
            return Err(NO_VERSION);
        }
    };
    let undecided = Method::of(handshake.ssl());
    let shaken = timeout_at(deadline, shake(&mut handshake, slot.as_deref())).await;
    handshake.get_mut().set_more_follows(false);
    let failure = match shaken {
        Ok(Ok(())) => {
            let stream = handshake.into_stream();
            forget_exchanged_keys(stream.ssl());
            if log::debug_level() > 1 {
                let (shown, worker) = (session(stream.ssl()).notes().join(", "), worker());
                log::debug(2, format_args!("TLS: {}: {shown}, worker {worker}", how.client));
            }
            return Ok(stream);
        }
        Ok(Err(failure)) => failure,
        Err(_) => {
            late(how.client, how.limit);
            return Err(version_reached(handshake.ssl(), undecided));
        }
    };
    let version = version_reached(handshake.ssl(), undecided);
    report(how.client, handshake.ssl(), &failure);
    if failure.ssl_error().is_some() {
        // The library has sent the alert. Boxed for its buffer, for which every handshake would have room otherwise.
        Box::pin(refuse(handshake.get_mut(), deadline, &[])).await;
    }
    Err(version)
}

/// The version of a handshake that has failed; `undecided` is what its method was before. Until there is a version, the library
/// names the newest one.
fn version_reached(ssl: &SslRef, undecided: Method) -> &'static str {
    if Method::of(ssl) == undecided { NO_VERSION } else { ssl.version_str() }
}

async fn shake(handshake: &mut ServerHandshake<Socket>, slot: Option<&SniSlot>) -> Result<(), Error> {
    let turn = TURN.with(Arc::clone);
    let (mut released, release_at) = (false, Instant::now() + RELEASE_AFTER);
    'turn: loop {
        // The semaphore is never closed, so this is never an error.
        let permit = turn.acquire().await;
        for again in [true, false] {
            let ends = has_sent_finished(handshake.ssl());
            handshake.get_mut().set_more_follows(ends);
            let step = poll_fn(|cx| Poll::Ready(handshake.poll_accept(cx))).await;
            match (step, slot) {
                (Poll::Ready(Err(e)), Some(slot)) if e.code() == ErrorCode::WANT_CLIENT_HELLO_CB => {
                    drop(permit);
                    slot.ready().await;
                    continue 'turn;
                }
                (Poll::Ready(done), _) => return done,
                (Poll::Pending, _) => {}
            }
            if again {
                // All other ready tasks run first, including those that become ready meanwhile. The second poll makes
                // sure that no data which came in this time is missed.
                tokio::task::yield_now().await;
            }
        }
        drop(permit);
        if released {
            woken().await;
            continue;
        }
        // The timer wakes this task like any other event. It is not begun again for a client that sends a byte now and then.
        _ = timeout_at(release_at, woken()).await;
        if Instant::now() >= release_at {
            handshake.release_memory();
            released = true;
        }
    }
}

/// Whether the server has sent all that the client waits for (TLS 1.3): what is left is a ticket, which can go with the first
/// bytes of the server.
fn has_sent_finished(ssl: &SslRef) -> bool {
    ssl.version2() == Some(SslVersion::TLS1_3) && ssl.finished(&mut []) > 0
}

/// Waits for the event that the preceding poll has registered for.
async fn woken() {
    let mut waited = false;
    poll_fn(|_| if std::mem::replace(&mut waited, true) { Poll::Ready(()) } else { Poll::Pending }).await;
}

/// Sends `alert`, and closes the connection once the client has. Closing one with unread bytes would reset it, and the client
/// might never see the alert.
async fn refuse(tcp: &mut Socket, deadline: Instant, alert: &[u8]) {
    let closing = async {
        tcp.write_all(alert).await?;
        tcp.shutdown().await?;
        let mut rest = [0; 4096];
        while tcp.read(&mut rest).await? > 0 {
            // Otherwise one that sends fast would be read beyond its time, and nobody else.
            tokio::task::yield_now().await;
        }
        io::Result::Ok(())
    };
    // An error means that the client is gone.
    _ = timeout_at(deadline.min(Instant::now() + LINGER), closing).await;
}

/// SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE of `openssl/sslerr.h`.
const NO_CERTIFICATE: i32 = 199;

/// Reports a rejected client. Only client certificates, which an administrator requested, are worth a separate line;
/// anyone can make a handshake fail in other ways.
fn report(client: ClientName, ssl: &SslRef, failure: &Error) {
    let missing = failure
        .ssl_error()
        .is_some_and(|errors| errors.errors().iter().any(|e| e.reason_code() == NO_CERTIFICATE));
    let verified = ssl.verify_result();
    if missing {
        log::warn(format_args!("TLS: {client}: rejected without a client certificate"));
    } else if verified != X509VerifyResult::OK {
        log::warn(format_args!("TLS: {client}: client certificate rejected: {}", verified.error_string()));
    } else {
        log::debug(1, format_args!("TLS: {client}: handshake failed: {failure}"));
    }
}

/// The parameters agreed on in the handshake.
pub(crate) fn session(ssl: &SslRef) -> TlsSession {
    let name = ssl.servername(NameType::HOST_NAME).filter(|n| n.bytes().all(|b| b.is_ascii_graphic()));
    TlsSession {
        version: ssl.version_str().to_owned(),
        cipher: ssl.current_cipher().map_or("-", |c| c.name()).to_owned(),
        resumed: ssl.session_reused(),
        server_name: name.map(str::to_owned),
        alpn: ssl.selected_alpn_protocol().and_then(printable),
    }
}

fn printable(name: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(name).ok()?;
    text.bytes().all(|byte| byte.is_ascii_graphic()).then(|| text.to_owned())
}
