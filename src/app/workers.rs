//! The threads that serve clients, and how they are told where.

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

/// Connections that a worker may have more than another. Measured: short connections cost 6 % less than with all workers
/// waiting for clients at once, and no more with any margin from 4 to 16.
const MARGIN: usize = 4;

/// How many workers there are to be.
pub(super) fn count(config: &Config) -> usize {
    match config.settings.workers {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        count => count,
    }
}

/// How those who serve clients are told where.
#[derive(Debug)]
pub(super) struct ListenerHandles {
    threads: Threads,
    used: Used,
}

#[derive(Debug)]
enum Threads {
    /// The workers.
    Streams(Vec<mpsc::UnboundedSender<Arc<Listener>>>),
    /// The thread that serves datagrams.
    Datagrams(mpsc::UnboundedSender<Arc<DatagramSocket>>),
}

impl ListenerHandles {
    /// The sockets that may still be open.
    pub(super) fn used(&self) -> &Used {
        &self.used
    }

    /// From now on clients come there. What is meant is of the kind that it was: `udp` needs a restart.
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
                // The new one takes clients before the old one stops.
                before.iter().for_each(|before| before.retire());
                // One that has ended listens no more.
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

    /// Pen takes no more clients: no new connection begins.
    pub(super) fn retire(&self) {
        self.used.current().iter().for_each(|listener| listener.retire());
    }
}

/// The threads that serve clients, and how they are told where.
pub(super) type Workers = (Vec<JoinHandle<()>>, ListenerHandles);

/// Starts the workers or, for datagrams, the one thread that serves all of them. All of them listen then.
///
/// # Errors
/// When the system does not give one what it needs. None is left then.
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
                // One that panicked has said so.
                workers.into_iter().for_each(|worker| _ = worker.join());
                return Err(error);
            }
        }
    }
    Ok((workers, ListenerHandles { threads: Threads::Streams(places), used }))
}
