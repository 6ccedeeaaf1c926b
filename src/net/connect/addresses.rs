//! Connecting to a server with one address or several.
//!
//! With several, attempts are staggered as in RFC 8305 5: while one is unanswered, the next begins after a short delay,
//! and the first that succeeds is used. All of them share the time of the connect. The address that worked is tried
//! first the next time. With TLS the handshake is part of an attempt.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::core::Millis;
use crate::core::address_order::{mark, order};
use crate::core::snapshot::{Backend, ServerAddress, Snapshot};
use crate::net::proxy::Caller;
use crate::net::shared::Shared;
use crate::net::stream::Stream;

use super::attempt::{HandshakeAck, attempt, within};
use super::failure::Failure;

/// How long an attempt has before the next one begins (RFC 8305 8: Connection Attempt Delay).
const DELAY: Duration = Duration::from_millis(250);
/// The minimum of RFC 8305 8, for servers with very many addresses.
const DELAY_MIN: Duration = Duration::from_millis(10);

/// For whom a server is looked for.
pub(super) struct Seeker<'a> {
    pub(super) shared: &'a Shared,
    pub(super) snapshot: &'a Snapshot,
    /// The client.
    pub(super) caller: &'a Caller<'a>,
    /// The protocol to offer to a server that speaks TLS.
    pub(super) alpn: Option<&'a [u8]>,
    /// When it was first seen that the client has ended.
    pub(super) ended: OnceLock<Millis>,
    /// Whether it waits for a descriptor.
    pub(super) is_short: AtomicBool,
}

/// Connects to a server, within the configured time.
///
/// # Errors
/// The failure that counts, see [`Failure::or`].
pub(super) async fn connect(seeker: &Seeker<'_>, backend: &Backend) -> Result<Stream, Failure> {
    let timeout = Duration::from_millis(seeker.snapshot.timeout);
    let target = ConnectTarget { seeker, backend, connected: false.into() };
    match backend.addresses.as_slice() {
        [] => Err(Failure::no_server()),
        [only] if backend.tls.is_none() => {
            let Seeker { snapshot, caller, .. } = seeker;
            let attempt = pin!(attempt(snapshot, only, caller.ip(), HandshakeAck::WithData));
            let connected = within(timeout, attempt).await;
            let mut stream = connected.unwrap_or_else(|_| Err(Failure::timed_out()))?;
            caller.introduce(backend.proxy, &mut stream);
            Ok(stream)
        }
        // Boxed: it is large, and most servers have no TLS.
        [only] => {
            let secured = Box::pin(tokio::time::timeout(timeout, target.attempt(only))).await;
            secured.unwrap_or_else(|_| Err(target.timed_out()))
        }
        // Boxed: it is large, and most servers have one address.
        several => {
            let before = backend.stats.worked();
            let (stream, address) = Box::pin(staggered(&target, several, before)).await?;
            backend.stats.remember_address_after(before, mark(address));
            Ok(stream)
        }
    }
}

/// What attempts are to reach, and how far they have come.
struct ConnectTarget<'a> {
    seeker: &'a Seeker<'a>,
    backend: &'a Backend,
    /// Whether an address has accepted the connection.
    connected: AtomicBool,
}

impl ConnectTarget<'_> {
    /// One attempt: connects to the address, and performs the TLS handshake if required.
    async fn attempt(&self, address: &ServerAddress) -> Result<Stream, Failure> {
        let Seeker { shared, snapshot, caller, alpn, .. } = *self.seeker;
        let mut stream = attempt(snapshot, address, caller.ip(), HandshakeAck::WithData).await?;
        caller.introduce(self.backend.proxy, &mut stream);
        let Some(peer) = &self.backend.tls else { return Ok(stream) };
        self.connected.store(true, Relaxed);
        Ok(Box::pin(shared.upstream_tls.connect(peer, alpn, stream)).await?)
    }

    /// The failure when the time of the attempts is over.
    fn timed_out(&self) -> Failure {
        if self.connected.load(Relaxed) { Failure::handshake_timed_out() } else { Failure::timed_out() }
    }
}

type Attempt<'a> = Pin<Box<dyn Future<Output = Result<Stream, Failure>> + Send + 'a>>;

/// The attempts in progress.
struct Attempts<'a, 't>(Vec<(&'a ServerAddress, Attempt<'t>)>);

impl<'a> Attempts<'a, '_> {
    /// The outcome of an attempt that has ended, which is removed.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<(&'a ServerAddress, Result<Stream, Failure>)> {
        for at in 0..self.0.len() {
            if let Poll::Ready(outcome) = self.0[at].1.as_mut().poll(cx) {
                let (address, _) = self.0.swap_remove(at);
                return Poll::Ready((address, outcome));
            }
        }
        Poll::Pending
    }
}

async fn staggered<'a>(
    target: &ConnectTarget<'_>,
    addresses: &'a [ServerAddress],
    worked: u64,
) -> Result<(Stream, &'a ServerAddress), Failure> {
    let timeout = Duration::from_millis(target.seeker.snapshot.timeout);
    let share = timeout / u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    let delay = share.clamp(DELAY_MIN, DELAY);
    let mut next = order(addresses, worked).into_iter();
    let mut attempts = Attempts(Vec::new());
    let mut failure = Failure::no_server();
    let end = Instant::now() + timeout;
    loop {
        // Starts another attempt: the first, or because one has failed or none has answered for a while.
        if let Some(n) = next.next() {
            attempts.0.push((&addresses[n], Box::pin(target.attempt(&addresses[n]))));
        } else if attempts.0.is_empty() {
            return Err(failure);
        }
        let last = next.len() == 0;
        let ended = async { poll_fn(|cx| attempts.poll(cx)).await };
        tokio::select! {
            biased;
            (address, outcome) = ended => match outcome {
                Ok(stream) => return Ok((stream, address)),
                Err(error) => failure = failure.or(error),
            },
            () = sleep(delay), if !last => {}
            () = sleep_until(end) => return Err(failure.or(target.timed_out())),
        }
    }
}
