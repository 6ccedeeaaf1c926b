//! The record of a connection, or of a flow of datagrams, when it has ended: counts and a line of the connection log.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::{Duration, Instant};

use crate::core::affinity::Client;
use crate::core::connection_line::ConnectionLine;
use crate::core::end_reason::{EndReason, FirstReason};
use crate::core::settings::Keyword;
use crate::core::snapshot::{Backend, Snapshot};
use crate::core::tls_session::TlsSession;
use crate::core::{Millis, millis};

use super::client_name::ClientName;
use super::connections::Connection;
use super::shared::Shared;

/// A time in microseconds that is not known yet.
const NEVER: u64 = u64::MAX;

/// The progress of a connection, which nobody needs before its end.
#[derive(Debug)]
pub(in crate::net) struct ConnectionRecord {
    /// The data that all connections share.
    pub(in crate::net) shared: Arc<Shared>,
    listener: Arc<String>,
    /// When the current wait began, as [`now_micros`]. It is stored here to keep the waiting tasks small.
    mark: AtomicU64,
    attempts: AtomicU32,
    queue_micros: AtomicU64,
    connect_micros: AtomicU64,
    reason: FirstReason,
}

/// A wait, until it is dropped: however it ends, the time is counted.
#[derive(Debug)]
pub(in crate::net) struct Wait<'a>(&'a ConnectionRecord);

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.0.waited();
    }
}

/// The time since the first call, in microseconds: half as large as an [`Instant`].
fn now_micros() -> u64 {
    static FIRST: LazyLock<Instant> = LazyLock::new(Instant::now);
    micros(FIRST.elapsed())
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(NEVER)
}

fn seconds(micros: &AtomicU64) -> Option<f64> {
    Some(micros.load(Relaxed)).filter(|micros| *micros != NEVER).map(|micros| micros as f64 / 1e6)
}

impl ConnectionRecord {
    /// The record of a new connection.
    pub(in crate::net) fn new(shared: &Arc<Shared>, snapshot: &Snapshot) -> Self {
        ConnectionRecord {
            shared: Arc::clone(shared),
            listener: Arc::clone(&snapshot.listener),
            mark: AtomicU64::new(now_micros()),
            attempts: AtomicU32::new(0),
            queue_micros: AtomicU64::new(NEVER),
            connect_micros: AtomicU64::new(NEVER),
            reason: FirstReason::default(),
        }
    }

    /// Starts a wait: in the queue for a server, or for a connect permit of one.
    pub(in crate::net) fn wait(&self) -> Wait<'_> {
        self.mark.store(now_micros(), Relaxed);
        Wait(self)
    }

    fn waited(&self) {
        let before = Some(self.queue_micros.load(Relaxed)).filter(|micros| *micros != NEVER);
        self.queue_micros.store(before.unwrap_or(0).saturating_add(micros(self.since_mark())), Relaxed);
    }

    /// Starts an attempt with another server.
    pub(in crate::net) fn attempt(&self) {
        self.attempts.fetch_add(1, Relaxed);
        self.mark.store(now_micros(), Relaxed);
    }

    /// The server has accepted it; returns how long that took.
    pub(in crate::net) fn connected(&self) -> Duration {
        let time = self.since_mark();
        self.connect_micros.store(micros(time), Relaxed);
        time
    }

    fn since_mark(&self) -> Duration {
        Duration::from_micros(now_micros().saturating_sub(self.mark.load(Relaxed)))
    }

    /// It is about to end. The first reason counts.
    pub(in crate::net) fn ends(&self, reason: EndReason) {
        self.reason.set(reason);
    }

    /// It has ended, with its server if it had one: counts and logs it.
    pub(in crate::net) fn finish(&self, connection: &Connection, server: Option<&Backend>) {
        let shared = &*self.shared;
        let reason = self.reason.get().or_else(|| connection.asked_to_end());
        let reason = reason.unwrap_or_else(without_reason);
        let lasted = shared.now().saturating_sub(connection.began);
        match reason {
            EndReason::Denied | EndReason::Limited => shared.ends.refused(reason),
            _ => shared.ends.ended(reason, Duration::from_millis(lasted)),
        }
        if !shared.connection_log.is_on() {
            return;
        }
        let (to_server_bytes, to_client_bytes) = connection.delivered();
        let tls: Option<&TlsSession> = connection.tls();
        log(
            shared,
            &ConnectionLine {
                server: server.map(|backend| backend.role.label()),
                server_name: server.and_then(|backend| backend.name.as_deref()),
                server_address: server.map(Backend::endpoint),
                tls_version: tls.map(|tls| tls.version.as_str()),
                tls_cipher: tls.map(|tls| tls.cipher.as_str()),
                sni: tls.and_then(|tls| tls.server_name.as_deref()),
                queue_seconds: seconds(&self.queue_micros),
                connect_seconds: seconds(&self.connect_micros),
                to_server_bytes,
                to_client_bytes,
                attempts: self.attempts.load(Relaxed),
                ..line(shared, connection.name(), &self.listener, lasted, reason)
            },
        );
    }
}

/// The reason of an end that has none: it was dropped by a panic, or with its worker.
fn without_reason() -> EndReason {
    match thread::panicking() {
        true => EndReason::InternalError,
        false => EndReason::Shutdown,
    }
}

/// Counts and logs a client that was refused after that time by a pen that listened there.
pub(in crate::net) fn refused(
    shared: &Shared,
    listener: &str,
    client: ClientName,
    reason: EndReason,
    after: Duration,
) {
    shared.ends.refused(reason);
    if shared.connection_log.is_on() {
        let millis = millis(after);
        log(shared, &line(shared, client, listener, millis, reason));
    }
}

/// A line about a client without a server whose connection lasted this long.
fn line<'a>(
    shared: &Shared,
    client: ClientName,
    listener: &'a str,
    lasted: Millis,
    reason: EndReason,
) -> ConnectionLine<'a> {
    let ClientName { client, port } = client;
    ConnectionLine {
        start: shared.connection_log.ago(lasted),
        client_address: Client::ip(client),
        client_port: port,
        listener,
        server: None,
        server_name: None,
        server_address: None,
        tls_version: None,
        tls_cipher: None,
        sni: None,
        queue_seconds: None,
        connect_seconds: None,
        total_seconds: lasted as f64 / 1e3,
        to_server_bytes: 0,
        to_client_bytes: 0,
        attempts: 0,
        end: reason.word(),
    }
}

/// Never waits for the log.
fn log(shared: &Shared, line: &ConnectionLine<'_>) {
    shared.connection_log.log(line, shared.snapshot.load().connection_log_format);
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    #[test]
    fn what_a_panic_ends_is_told_from_what_ends_with_pen() {
        struct Ends<'a>(&'a Mutex<Vec<EndReason>>);
        impl Drop for Ends<'_> {
            fn drop(&mut self) {
                self.0.lock().push(without_reason());
            }
        }
        let reasons = Mutex::default();
        drop(Ends(&reasons));
        let fails = || {
            let _ends = Ends(&reasons);
            panic!("expected by this test");
        };
        assert!(thread::scope(|scope| scope.spawn(fails).join()).is_err());
        assert_eq!(*reasons.lock(), [EndReason::Shutdown, EndReason::InternalError]);
    }
}
