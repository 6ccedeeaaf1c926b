//! Lingering close: how a relay closes its two sockets when a connection does not end by an orderly close on both sides.
//!
//! close(2) with SO_LINGER 0, or with unread bytes in the receive buffer, sends RST and discards what the kernel has not
//! yet delivered. So the relay first waits until the peer has acknowledged everything, as long as it makes progress.

use std::future::Future;
use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::time::{Instant, Sleep, sleep};

use super::buffer;
use crate::net::stream::Stream;
use crate::sys::socket::unacknowledged;

/// How long a peer may take before it acknowledges more data.
pub(crate) const STALL: Duration = Duration::from_secs(30);
/// The same on a system that does not report unacknowledged data.
const BLIND: Duration = Duration::from_secs(1);
/// How long a peer that continues to send may take to notice the end, once it has acknowledged everything.
const GRACE: Duration = Duration::from_secs(1);
/// The first and the longest interval between two checks.
const CHECK: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(250));
/// The number of reads that are discarded per check.
const DISCARD: u32 = 16;

/// How one socket is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseMode {
    /// At once: both directions have ended, or the peer is gone.
    Close,
    /// The peer has been sent the end but may continue to send: its data is discarded, so that no RST overtakes the
    /// last bytes.
    Drain {
        /// Whether the peer is given time to end by itself.
        patient: bool,
    },
    /// With RST: the stream was cut off, and the peer must not take it for complete.
    Reset,
}

/// The closing of one socket.
#[derive(Debug)]
struct PeerClose {
    mode: CloseMode,
    /// The number of unacknowledged bytes at the last check.
    unacknowledged: usize,
    /// When the current wait ends.
    until: Option<Instant>,
    acknowledged: bool,
    done: bool,
}

impl PeerClose {
    fn new(mode: CloseMode) -> Self {
        let done = mode == CloseMode::Close;
        Self { mode, unacknowledged: usize::MAX, until: None, acknowledged: false, done }
    }

    fn check(&mut self, cx: &mut Context<'_>, stream: &mut Stream) {
        if self.done {
            return;
        }
        if is_gone(stream) || (matches!(self.mode, CloseMode::Drain { .. }) && discard(cx, stream)) {
            self.done = true;
            return;
        }
        let now = Instant::now();
        match unacknowledged(stream.as_fd()) {
            Some(0) if self.mode != (CloseMode::Drain { patient: true }) => self.reset(stream),
            Some(0) if !self.acknowledged => {
                self.acknowledged = true;
                self.until = Some(now + GRACE);
            }
            Some(left) if left < self.unacknowledged && !self.acknowledged => {
                self.unacknowledged = left;
                self.until = Some(now + STALL);
            }
            _ => {
                if now >= *self.until.get_or_insert(now + BLIND) {
                    self.reset(stream);
                }
            }
        }
    }

    /// Closes it now.
    fn give_up(&mut self, stream: &Stream) {
        if !self.done {
            self.reset(stream);
        }
    }

    fn reset(&mut self, stream: &Stream) {
        stream.set_reset_on_close();
        self.done = true;
    }
}

/// Whether the connection was reset. The system counts such a peer's unacknowledged bytes forever.
fn is_gone(stream: &Stream) -> bool {
    SockRef::from(stream).peer_addr().is_err_and(|error| error.kind() == io::ErrorKind::NotConnected)
}

/// Reads and discards; true when the peer has ended or is gone.
fn discard(cx: &mut Context<'_>, stream: &mut Stream) -> bool {
    buffer::with_read_buffer(|buffer| {
        for _ in 0..DISCARD {
            match stream.poll_read(cx, buffer) {
                Poll::Pending => return false,
                Poll::Ready(Ok(0) | Err(_)) => return true,
                Poll::Ready(Ok(_)) => {}
            }
        }
        false
    })
}

/// The closing of both sockets.
#[derive(Debug)]
pub(crate) struct LingeringClose {
    client: PeerClose,
    server: PeerClose,
    wait: Duration,
    /// When both are closed even if bytes are unacknowledged.
    deadline: Option<Instant>,
    tick: Option<Pin<Box<Sleep>>>,
}

impl LingeringClose {
    pub(crate) fn new(client: CloseMode, server: CloseMode) -> Self {
        Self {
            client: PeerClose::new(client),
            server: PeerClose::new(server),
            wait: CHECK.0,
            deadline: None,
            tick: None,
        }
    }

    /// Limits the time for it.
    pub(crate) fn within(mut self, limit: Duration) -> Self {
        self.deadline = Some(Instant::now() + limit);
        self
    }

    /// Ready when both sockets may be closed.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Stream,
        server: &mut Stream,
    ) -> Poll<()> {
        loop {
            self.client.check(cx, client);
            self.server.check(cx, server);
            if self.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                self.client.give_up(client);
                self.server.give_up(server);
            }
            if self.client.done && self.server.done {
                return Poll::Ready(());
            }
            let tick = self.tick.get_or_insert_with(|| Box::pin(sleep(CHECK.0)));
            ready!(tick.as_mut().poll(cx));
            self.wait = (self.wait * 2).min(CHECK.1);
            tick.as_mut().reset(Instant::now() + self.wait);
        }
    }
}
