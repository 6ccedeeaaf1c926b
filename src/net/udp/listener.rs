//! One socket that clients send to, and its flows.

use std::io;
use std::mem;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::core::end_reason::EndReason;
use crate::core::error::SystemReason;
use crate::core::flow_table::FlowId;
use crate::core::standing_queue::StandingQueue;
use crate::core::{Millis, millis};
use crate::net::connect::shortage::SHORTAGE_PAUSE;
use crate::net::shared::Shared;
use crate::sys::datagram::{DatagramSocket, Peer, UpstreamSocket};
use crate::sys::error::is_shortage;
use crate::sys::log;

use super::drops::DropCounts;
use super::exchange::{Exchange, ReceiveOutcome};
use super::flow::UdpFlow;
use super::flows::Flows;
use super::notifier::Notifier;

/// The maximum number of passes, or of receive calls for one flow, before other tasks run.
const TURNS_MAX: usize = 8;
/// The maximum number of receive calls when pen leaves a socket: enough for a full receive buffer.
const LAST_RECEIVES_MAX: usize = 128;
/// The longest time between two searches for idle flows, since `idle_timeout` may have changed.
const SWEEP: Millis = 1_000;
/// The pause after a receive error. No such error is known to last.
const ERROR_PAUSE: Duration = Duration::from_millis(10);

/// The stage of a listener's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ListenerStage {
    /// It accepts new clients.
    Open,
    /// Pen listens elsewhere: it serves the present flows.
    Leaving,
    /// It has ended.
    Closed,
}

/// The socket, and its flows.
#[derive(Debug)]
pub(super) struct UdpListener {
    shared: Arc<Shared>,
    socket: Arc<DatagramSocket>,
    flows: Flows,
    /// The source of events, once it serves.
    notifier: OnceLock<Notifier>,
    stage: Mutex<ListenerStage>,
    /// The stage has changed, or the last flow has ended.
    changed: Notify,
    /// Determines whether more arrives than pen can forward.
    queue: Mutex<StandingQueue>,
    /// The memory of a pass, which no task holds while it waits.
    exchange: Mutex<Exchange>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic between two calls leaves the value consistent.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl UdpListener {
    /// Starts to serve a socket on this thread.
    pub(super) fn open(shared: Arc<Shared>, socket: Arc<DatagramSocket>) -> Arc<Self> {
        let batch = shared.snapshot.load().batch;
        let listener = Arc::new(UdpListener {
            socket,
            flows: Flows::new(Arc::clone(&shared)),
            notifier: OnceLock::new(),
            stage: Mutex::new(ListenerStage::Open),
            changed: Notify::new(),
            queue: Mutex::default(),
            shared,
            exchange: Mutex::new(Exchange::new(batch)),
        });
        tokio::spawn({
            let listener = Arc::clone(&listener);
            // A panic has been logged; the listener continues and keeps its flows.
            async move {
                while tokio::spawn(Arc::clone(&listener).serve()).await.is_err() {
                    tokio::time::sleep(SHORTAGE_PAUSE).await;
                }
            }
        });
        listener
    }

    /// Whether this is the listener of `socket`.
    pub(super) fn is_of(&self, socket: &Arc<DatagramSocket>) -> bool {
        Arc::ptr_eq(&self.socket, socket)
    }

    /// Accepts the clients whose datagrams are already in the buffer, and no others; ends with its last flow.
    pub(super) fn leave(self: &Arc<Self>) {
        let mut exchange = lock(&self.exchange);
        for _ in 0..LAST_RECEIVES_MAX {
            exchange.begin();
            let more = self.receive(&mut exchange);
            let passed_on = self.pass_on(&mut exchange);
            if passed_on.is_err() || !more.is_ok_and(|more| more) {
                break;
            }
        }
        drop(exchange);
        *lock(&self.stage) = ListenerStage::Leaving;
        self.changed.notify_one();
    }

    /// Accepts new clients again; false if it has ended in the meantime.
    pub(super) fn come_back(&self) -> bool {
        let mut stage = lock(&self.stage);
        if *stage == ListenerStage::Closed {
            return false;
        }
        *stage = ListenerStage::Open;
        true
    }

    /// Whether it continues; ends it when pen has left it and no flow is left.
    fn lives(&self) -> bool {
        let mut stage = lock(&self.stage);
        if *stage == ListenerStage::Leaving && self.flows.is_empty() {
            *stage = ListenerStage::Closed;
        }
        *stage != ListenerStage::Closed
    }

    fn notifier(&self) -> io::Result<&Notifier> {
        if let Some(notifier) = self.notifier.get() {
            return Ok(notifier);
        }
        let notifier = Notifier::of(&self.socket)?;
        Ok(self.notifier.get_or_init(|| notifier))
    }

    async fn serve(self: Arc<Self>) {
        let notifier = loop {
            match self.notifier() {
                Ok(notifier) => break notifier,
                Err(error) => {
                    log::error(format_args!("pen cannot receive: {}", SystemReason(&error)));
                    tokio::time::sleep(SHORTAGE_PAUSE).await;
                }
            }
        };
        let mut sweep = pin!(tokio::time::sleep(Duration::from_millis(SWEEP)));
        let mut seen = DropCounts::default();
        while self.lives() {
            tokio::select! {
                ready = notifier.ready() => {
                    if let Err(error) = ready {
                        return log::error(format_args!("pen no longer receives: {}",SystemReason(&error)));
                    }
                    match self.take_turns(notifier) {
                        Ok(true) => tokio::task::yield_now().await,
                        Ok(false) => {}
                        Err(error) => {
                            log::debug(1, format_args!("receiving datagrams: {error}"));
                            tokio::time::sleep(ERROR_PAUSE).await;
                        }
                    }
                }
                () = &mut sweep, if !self.flows.is_empty() => {
                    let pause = self.sweep();
                    seen = self.shared.drops.look(seen);
                    sweep.as_mut().reset(Instant::now() + Duration::from_millis(pause));
                }
                () = self.changed.notified() => {}
            }
        }
        // Datagrams that came before the last flow ended are not answered.
    }

    /// Ends the flows that were idle for too long; returns when to check again, in milliseconds.
    fn sweep(&self) -> Millis {
        // A millisecond later, since the clock rounds down.
        self.flows.end_idle().saturating_add(1).min(SWEEP)
    }

    /// Serves the available datagrams, in at most [`TURNS_MAX`] passes. Returns whether there may be more.
    ///
    /// # Errors
    /// See recvmsg(2) and epoll_wait(2); not `WouldBlock`.
    fn take_turns(self: &Arc<Self>, notifier: &Notifier) -> io::Result<bool> {
        let mut exchange = lock(&self.exchange);
        let mut more = true;
        for _ in 0..TURNS_MAX {
            exchange.begin();
            let received = notifier.receive(&mut exchange, |exchange| self.receive(exchange));
            self.pass_on(&mut exchange)?;
            more = received?;
            if !more {
                break;
            }
        }
        // A full buffer contained more than one datagram.
        if mem::take(&mut exchange.several) {
            self.shared.drops.overflowed(self.socket.newly_overflowed());
        }
        Ok(more)
    }

    /// Passes on the datagrams of clients, and the answers for flows that are ready.
    ///
    /// # Errors
    /// The system has no memory for an answer, which is still there: the event port reports it at once again.
    fn pass_on(self: &Arc<Self>, exchange: &mut Exchange) -> io::Result<()> {
        let now = self.shared.now();
        let mut short = None;
        let (mut at, mut is_last) = (0, false);
        while !is_last {
            at = self.list_questions(exchange, at, now);
            is_last = at == exchange.batch.count();
            if is_last {
                exchange.expect_answers(|token| self.flows.by_token(token));
            }
            exchange.ask_and_receive(
                |id| self.remove(id, Some(EndReason::NoServer)),
                |id, flow, upstream, received| match received {
                    ReceiveOutcome::Answer(answer) => {
                        self.flows.was_answered(id, now) && flow.answered(upstream, answer)
                    }
                    ReceiveOutcome::Failed(error) if is_shortage(&error) => {
                        short = Some(error);
                        false
                    }
                    ReceiveOutcome::Failed(error) => {
                        if !flow.failed(upstream, error) {
                            self.remove(id, Some(EndReason::NoServer));
                        }
                        false
                    }
                },
            );
            exchange.pass_answers_on(&self.socket);
        }
        short.map_or(Ok(()), Err)
    }

    /// Receives datagrams of clients. Returns whether there may be more.
    fn receive(&self, exchange: &mut Exchange) -> io::Result<bool> {
        let more = match self.socket.receive(&mut exchange.batch) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            result => result?,
        };
        exchange.several |= exchange.batch.count() > 1;
        if self.is_late(more) {
            self.shared.drops.late(exchange.batch.count());
            exchange.batch.clear();
        }
        Ok(more)
    }

    /// Lists datagrams of clients, from index `first` on, until the end or the first that depends on the result of a
    /// listed one. Returns its index.
    fn list_questions(self: &Arc<Self>, exchange: &mut Exchange, first: usize, now: Millis) -> usize {
        let mut at = first;
        while let Some((datagram, peer)) = exchange.batch.get(at) {
            let Some(peer) = peer else {
                self.shared.drops.because("nobody sent it");
                at += 1;
                continue;
            };
            if let Some((id, flow)) = self.flows.of_client(&peer, now).or_else(|| self.admit(peer, now)) {
                if exchange.has_question_of(id) {
                    return at;
                }
                let begin = exchange.framed.len();
                match flow.next_to_server(datagram, &mut exchange.framed) {
                    Some(upstream) => exchange.ask(id, flow, upstream, (at, begin)),
                    None => self.remove(id, Some(EndReason::NoServer)),
                }
            }
            at += 1;
        }
        at
    }

    /// Whether the datagrams just received have waited too long in a queue that never empties, and are to be dropped.
    /// Not if there are no `more` after them.
    fn is_late(&self, more: bool) -> bool {
        let waited = if more { self.socket.waited() } else { Duration::ZERO };
        let mut queue = lock(&self.queue);
        let stood = queue.stands();
        let late = queue.sheds(millis(waited), self.shared.now());
        if stood && !queue.stands() {
            self.shared.drops.in_time();
        }
        late
    }

    /// Makes a flow for a new client if it may have one; otherwise counts the datagram as dropped, with the reason.
    fn admit(self: &Arc<Self>, peer: Peer, now: Millis) -> Option<(FlowId, Arc<UdpFlow>)> {
        if *lock(&self.stage) != ListenerStage::Open {
            self.shared.drops.because("pen takes no new clients there");
            return None;
        }
        let (id, flow) = self.flows.admit(peer, now, &self.socket)?;
        if let Err(error) = self.listen_to(id, &flow) {
            self.shared.drops.short(&error);
            self.remove(id, Some(EndReason::Shortage));
            return None;
        }
        let task = tokio::spawn(answer(FlowGuard { listener: Arc::clone(self), id }, Arc::clone(&flow)));
        flow.served_by(task.abort_handle());
        Some((id, flow))
    }

    /// Makes the event port report the answers of the flow's server, if there is an event port.
    fn listen_to(&self, id: FlowId, flow: &UdpFlow) -> io::Result<()> {
        match flow.upstream() {
            Some(upstream) => self.notifier()?.add(id.token(), &upstream),
            None => Ok(()),
        }
    }

    /// Ends a flow, as [`UdpFlow::end`] does.
    fn remove(&self, id: FlowId, reason: Option<EndReason>) {
        if self.flows.remove(id, reason) {
            // A retired listener ends with its last flow.
            self.changed.notify_one();
        }
    }

    /// Forwards the answers of a server; true if there may be more. Removes the flow when it has ended.
    ///
    /// # Errors
    /// As [`UdpListener::pass_on`].
    fn take_answers(&self, id: FlowId, flow: &UdpFlow, upstream: &Arc<UpstreamSocket>) -> io::Result<bool> {
        let batch = &mut lock(&self.exchange).batch;
        for _ in 0..TURNS_MAX {
            match upstream.receive(batch) {
                Ok(()) => {
                    if !self.flows.was_answered(id, self.shared.now()) {
                        return Ok(false);
                    }
                    let answer = batch.get(0).filter(|(datagram, _)| flow.answered(upstream, datagram));
                    if let Some((datagram, _)) = answer {
                        flow.passed_on(datagram.len(), self.socket.send(datagram, flow.peer()));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_shortage(&error) => return Err(error),
                Err(error) => {
                    let goes_on = flow.failed(upstream, error);
                    if !goes_on {
                        self.remove(id, Some(EndReason::NoServer));
                    }
                    // Reading has cleared the error; there may be answers after it, or another socket in its place.
                    return Ok(goes_on);
                }
            }
        }
        Ok(true)
    }
}

/// Removes the flow however its task ends.
struct FlowGuard {
    listener: Arc<UdpListener>,
    id: FlowId,
}

impl Drop for FlowGuard {
    fn drop(&mut self) {
        self.listener.remove(self.id, None);
    }
}

/// Passes a flow's answers on until it ends, where no event port reports them to the listener; keeps the flow until then in
/// any case.
///
/// `guard` is made before: a task that is aborted before it first runs drops its arguments and nothing else.
async fn answer(guard: FlowGuard, flow: Arc<UdpFlow>) {
    let id = guard.id;
    while let Some(upstream) = flow.upstream() {
        tokio::select! {
            ready = upstream.ready() => {
                if ready.is_err() {
                    return;
                }
                match guard.listener.take_answers(id, &flow, &upstream) {
                    Ok(true) => tokio::task::yield_now().await,
                    Ok(false) => {}
                    Err(error) => {
                        log::debug(1, format_args!("receiving datagrams: {error}"));
                        tokio::time::sleep(ERROR_PAUSE).await;
                    }
                }
            }
            () = flow.changed() => {
                if let Err(error) = guard.listener.listen_to(id, &flow) {
                    return guard.listener.shared.drops.short(&error);
                }
            }
        }
    }
}
