//! The threads that serve clients, and the channels that give them new listeners.

use std::sync::mpsc::TryRecvError;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

use tokio::sync::mpsc;

use crate::core::Error;
use crate::core::config::Config;
use crate::net::accept_token::AcceptToken;
use crate::net::lifecycle::LifeStage;
use crate::net::listener::Listener;
use crate::net::shared::Shared;
use crate::net::{udp, worker};
use crate::sys::datagram::DatagramSocket;

use super::listeners::{BoundListener, Used};

/// The number of connections that a worker may have more than another one. Measured: short connections cost 6 % less
/// than when all workers wait for clients at once, and no more with any margin from 4 to 16.
const MARGIN: usize = 4;

/// The number of workers to start.
pub(super) fn count(config: &Config) -> usize {
    match config.settings.workers {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        count => count,
    }
}

/// The channels that give new listeners to the threads that serve clients.
#[derive(Debug)]
pub(super) struct ListenerHandles {
    threads: Threads,
    used: Used,
}

#[derive(Debug)]
enum Threads {
    /// To the workers.
    Streams(Vec<mpsc::UnboundedSender<Arc<Listener>>>),
    /// To the thread that serves datagrams.
    Datagrams(mpsc::UnboundedSender<Arc<DatagramSocket>>),
}

impl ListenerHandles {
    /// The sockets that may still be open.
    pub(super) fn used(&self) -> &Used {
        &self.used
    }

    /// Moves clients to this listener. It is of the same kind as before: `udp` needs a restart.
    pub(super) fn move_to(&mut self, listener: BoundListener) {
        match (&self.threads, listener) {
            (Threads::Streams(workers), BoundListener::Streams(listening, closed)) => {
                let before = self.used.current();
                if before.as_ref().is_some_and(|before| Arc::ptr_eq(before, &listening)) {
                    return;
                }
                let streams = &mut self.used.streams;
                let is_this = |listener: &Weak<Listener>| listener.as_ptr() == Arc::as_ptr(&listening);
                let known = streams.iter().position(|(listener, _)| is_this(listener));
                let known = known.map(|at| streams.remove(at).1);
                streams.retain(|(_, closed)| closed.try_recv() != Err(TryRecvError::Disconnected));
                if let Some(closed) = closed.or(known) {
                    streams.push((Arc::downgrade(&listening), closed));
                }
                listening.reactivate();
                // The new one accepts clients before the old one stops.
                before.iter().for_each(|before| before.retire());
                // A worker that has ended needs no listener.
                workers.iter().for_each(|worker| _ = worker.send(Arc::clone(&listening)));
            }
            (Threads::Datagrams(thread), BoundListener::Datagrams(socket)) => {
                let used = &mut self.used.datagrams;
                used.retain(|socket| socket.strong_count() > 0);
                used.push(Arc::downgrade(&socket));
                _ = thread.send(socket);
            }
            _ => {}
        }
    }

    /// Stops accepting clients: no new connection begins.
    pub(super) fn retire(&self) {
        self.used.current().iter().for_each(|listener| listener.retire());
    }
}

/// The threads that serve clients, and the channels that give them new listeners.
pub(super) type Workers = (Vec<JoinHandle<()>>, ListenerHandles);

/// Starts the workers or, for datagrams, the one thread that serves all of them. On return all of them listen.
///
/// # Errors
/// The system denies one of them a resource. All threads have ended then.
pub(super) fn start(count: usize, shared: &Arc<Shared>, listener: BoundListener) -> Result<Workers, Error> {
    let mut used = Used::default();
    let listening = match listener {
        BoundListener::Streams(listening, closed) => {
            used.streams.extend(closed.map(|closed| (Arc::downgrade(&listening), closed)));
            listening
        }
        BoundListener::Datagrams(socket) => {
            let (sender, sockets) = mpsc::unbounded_channel();
            used.datagrams.push(Arc::downgrade(&socket));
            let thread = udp::start(Arc::clone(shared), socket, sockets);
            let thread = thread.map_err(|e| Error::failed("a thread for UDP", e))?;
            return Ok((vec![thread], ListenerHandles { threads: Threads::Datagrams(sender), used }));
        }
    };
    let token = if shared.tls.is_some() { AcceptToken::none(count) } else { AcceptToken::new(count, MARGIN) };
    let one = |n| {
        let (sender, sockets) = mpsc::unbounded_channel();
        let worker = worker::start(n, Arc::clone(shared), token.handle(n), Arc::clone(&listening), sockets);
        worker.map(|worker| (worker, sender)).map_err(|e| Error::failed("a worker", e))
    };
    let (mut workers, mut places) = (Vec::new(), Vec::new());
    for n in 0..count {
        match one(n) {
            Ok((worker, place)) => {
                workers.push(worker);
                places.push(place);
            }
            Err(error) => {
                shared.lifecycle.enter(LifeStage::End);
                // The panic handler has reported a panic.
                workers.into_iter().for_each(|worker| _ = worker.join());
                return Err(error);
            }
        }
    }
    Ok((workers, ListenerHandles { threads: Threads::Streams(places), used }))
}
