//! A connection in progress: one future that moves bytes both ways between a client and its server.
//!
//! A message costs one read and one write: [`Stream::poll_read`] recognizes from a short read that the socket is empty
//! and does not read again. Nothing is read in a direction while it has undelivered bytes, which bounds the memory of a
//! connection and lets TCP slow down the sender.
//!
//! How a connection ends:
//!
//! - The end of stream on one side is passed on as a half close after the bytes before it; with both, the connection is
//!   over.
//! - A side that breaks off (RST, truncated TLS): the bytes read are delivered, then the other side is reset. A FIN
//!   would make a truncated stream look complete.
//! - A side that accepts no more data (EPIPE, ECONNRESET on write): its own last bytes are still read and delivered,
//!   since a server may answer and close before it has read all of a request.
//! - The system has no memory for bytes that are to be sent: both sides are reset.
//! - Ended by pen, for a command, at pen's own end, because it is idle or because its server is down: reset if more was
//!   to come, otherwise closed.

pub(crate) mod buffer;
mod closing;
mod direction;
mod ending;
mod idle;
mod lanes;
mod outcome;
mod side;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use crate::core::http::AnswerProgress;
use crate::core::settings::Fastclose;
use crate::sys::socket::LaneTransfer;
use crate::sys::splice::Pool;

use super::filter::{FilterDemand, SharedMeter, StreamFilter};
use super::stream::Stream;
use closing::{CloseMode, LingeringClose};
use direction::{Direction, DirectionState, FastPathOutcome, PollContext, SideError, TransferOutcome};
use ending::{DirectionProgress, GracePeriod};
use idle::Idle;
use lanes::Lanes;

pub use outcome::{Cause, RelayOutcome};
pub use side::Side;

/// The settings of a connection.
#[derive(Clone, Debug, Default)]
pub struct RelaySettings {
    /// Pipes for bulk data; `None` to always copy.
    pub pipes: Option<Pool>,
    /// See [`Fastclose`].
    pub fastclose: Fastclose,
    /// The connection ends when no byte has moved for this long; `None` for never.
    pub idle: Option<Duration>,
}

/// The progress of a connection that is about to end.
enum Finish {
    /// It is told to end.
    Soon(GracePeriod),
    /// Its sockets are being closed; the cause is reported afterwards.
    Closing(LingeringClose, Cause),
}

/// The future. Its output is returned once, when both sockets may be closed; dropping it earlier ends the connection at
/// once, like one that pen ends.
#[must_use = "a future does nothing unless polled"]
pub struct Relay<M: SharedMeter> {
    client: Stream,
    server: Stream,
    up: Direction,
    down: Direction,
    meter: M,
    filter: Option<Box<dyn StreamFilter + Send>>,
    pipes: Option<Pool>,
    idle: Option<Box<Idle>>,
    finish: Option<Box<Finish>>,
    /// The output has been returned, and how to close both sockets is decided.
    closed: bool,
    fault: Option<Box<SideError>>,
    /// The undelivered bytes last passed to the meter.
    pending: (u32, u32),
    /// The waker that the streams must call.
    waker: Option<Waker>,
    fastclose: Fastclose,
    stop: bool,
    /// The side whose stream ended first.
    first_end: Option<Side>,
    /// The client has sent something since the server did.
    answer_due: bool,
    lanes: Lanes,
    messages: u8,
}

impl<M: SharedMeter> Relay<M> {
    /// A relay between two established streams.
    pub fn new(
        client: impl Into<Stream>,
        server: impl Into<Stream>,
        settings: &RelaySettings,
        meter: M,
    ) -> Self {
        let (client, server) = (client.into(), server.into());
        let pipes = settings.pipes.clone().filter(|_| client.may_splice() && server.may_splice());
        Self {
            client,
            server,
            up: Direction::to(Side::Server, pipes.is_some()),
            down: Direction::to(Side::Client, pipes.is_some()),
            pipes,
            meter,
            filter: None,
            idle: settings.idle.map(|period| Box::new(Idle::new(period))),
            finish: None,
            closed: false,
            fault: None,
            pending: (0, 0),
            waker: None,
            fastclose: settings.fastclose,
            stop: false,
            first_end: None,
            answer_due: false,
            lanes: None,
            messages: 0,
        }
    }

    /// Passes the client's data from now on to `filter`, which may rewrite it; `None` for no filter.
    pub fn show_to(&mut self, filter: Option<Box<dyn StreamFilter + Send>>) {
        self.filter = filter;
    }

    /// Changes the settings. A new idle timeout starts now.
    pub fn change(&mut self, fastclose: Fastclose, idle: Option<Duration>) {
        self.fastclose = fastclose;
        if self.idle.as_ref().map(|idle| idle.period) != idle && !self.is_stalled() {
            self.idle = idle.map(|period| Box::new(Idle::new(period)));
        }
    }

    /// Ends the connection soon, so that partial data is not taken for complete; `server_is_down` if that is the reason.
    pub fn end_soon(&mut self, server_is_down: bool) {
        match self.finish.as_deref_mut() {
            None => self.finish = Some(Box::new(Finish::Soon(GracePeriod::new(server_is_down)))),
            Some(Finish::Soon(period)) => period.server_is_down |= server_is_down,
            Some(Finish::Closing(..)) => {}
        }
    }

    fn moved(&self) -> [u64; 2] {
        [self.up.moved(), self.down.moved()]
    }

    /// Records which side has sent last, given the bytes that had moved before. If both have since, it is taken to be
    /// the server.
    #[inline]
    fn note_progress(&mut self, before: [u64; 2]) {
        let [up, down] = self.moved();
        if down != before[1] {
            self.answer_due = false;
        } else if up != before[0] {
            self.answer_due = true;
        }
    }

    /// Whether a source has broken off and its data is not delivered yet.
    fn is_stalled(&self) -> bool {
        self.up.state() == DirectionState::Failed || self.down.state() == DirectionState::Failed
    }

    /// Closes the lanes and takes over what they have transferred; returns what is left to be done for each direction.
    #[inline]
    fn take_over(&mut self) -> [Option<FastPathOutcome>; 2] {
        match lanes::close(&self.lanes) {
            [None, None] => [None, None],
            transfers => self.take_transfers(transfers),
        }
    }

    fn take_transfers(&mut self, [up, down]: [Option<LaneTransfer>; 2]) -> [Option<FastPathOutcome>; 2] {
        self.answer_due = lanes::answer_due(up.as_ref(), down.as_ref()).unwrap_or(self.answer_due);
        if let Some(idle) = &mut self.idle {
            let transfers = [&up, &down].into_iter().flatten();
            transfers.filter_map(|transfer| transfer.last).for_each(|time| idle.note(time));
        }
        [
            up.and_then(|transfer| self.up.take_over(transfer)),
            down.and_then(|transfer| self.down.take_over(transfer)),
        ]
    }

    /// Passes on available data, beginning with what the lanes have `left`. Ready when there is more to do, with the step that
    /// each direction has left.
    #[inline]
    fn fast_path(
        &mut self,
        cx: &mut Context<'_>,
        [up, down]: [Option<FastPathOutcome>; 2],
    ) -> Poll<(Option<TransferOutcome>, Option<TransferOutcome>)> {
        // One that stalls or is about to end has to be looked at as a whole.
        let is_special = self.finish.is_some() || self.is_stalled();
        if self.filter.is_some() || is_special || matches!(self.client, Stream::Tls(_)) {
            return Poll::Ready((self.step(up), self.step(down)));
        }
        let before = self.moved();
        let up = up.unwrap_or_else(|| self.up.fast_path(cx, &self.meter, &self.client, &self.server));
        let down = down.unwrap_or_else(|| self.down.fast_path(cx, &self.meter, &self.server, &self.client));
        self.note_progress(before);
        let active = before != self.moved();
        if let (FastPathOutcome::Idle, FastPathOutcome::Idle) = (&up, &down)
            && self.idle.as_mut().is_none_or(|idle| idle.poll(cx, active).is_pending())
        {
            let (streams, directions) = ((&self.client, &self.server), (&self.up, &self.down));
            lanes::open(&mut self.lanes, &mut self.messages, streams, directions, &self.meter);
            return Poll::Pending;
        }
        Poll::Ready((self.step(Some(up)), self.step(Some(down))))
    }

    /// The step that an outcome leaves to be taken, after its fault is noted.
    #[inline]
    fn step(&mut self, outcome: Option<FastPathOutcome>) -> Option<TransferOutcome> {
        match outcome? {
            FastPathOutcome::Idle => None,
            FastPathOutcome::Continue(step) => step,
            FastPathOutcome::Dead(fault) => {
                self.note(Some(fault));
                None
            }
        }
    }

    fn poll_directions(
        &mut self,
        cx: &mut Context<'_>,
        first: (Option<TransferOutcome>, Option<TransferOutcome>),
    ) {
        let Self { client, server, up, down, meter, filter, pipes, first_end, .. } = self;
        let mut context = PollContext {
            cx,
            meter,
            filter,
            pool: pipes.as_ref(),
            stop: self.stop,
            other_done: down.done(),
            source_was_reset: down.was_reset(),
        };
        let fault = up.poll(&mut context, client, server, first.0);
        if up.eof() {
            first_end.get_or_insert(Side::Client);
        }
        context.source_was_reset = up.was_reset();
        context.other_done = up.done();
        let fault = fault.or(down.poll(&mut context, server, client, first.1));
        if down.eof() {
            first_end.get_or_insert(Side::Server);
        }
        self.note(fault);
    }

    /// Keeps the first error.
    fn note(&mut self, fault: Option<SideError>) {
        if let (None, Some(fault)) = (&self.fault, fault) {
            self.fault = Some(Box::new(fault));
        }
    }

    /// What the filter requires.
    fn demand(&self) -> FilterDemand {
        self.filter.as_ref().map_or(FilterDemand::Read, |filter| filter.demand())
    }

    fn report_pending(&mut self) -> bool {
        let (to_server, to_client) = (self.up.pending(), self.down.pending());
        let pending = (to_server as u32, to_client as u32);
        let changed = pending != self.pending;
        if changed {
            self.pending = pending;
            self.meter.pending(to_server, to_client);
        }
        changed
    }

    /// How to close both sides, once there is nothing more to move.
    fn orderly_close(&self) -> Option<LingeringClose> {
        use DirectionState::{Dead, Failed, Shut};
        let cut = |direction: &Direction| direction.state() == Failed && direction.pending() == 0;
        let (client, server) = match (self.up.state(), self.down.state()) {
            // Neither peer knows that bytes were lost, and each may wait for the other for ever.
            _ if self.up.lacks_memory() || self.down.lacks_memory() => (CloseMode::Reset, CloseMode::Reset),
            _ if cut(&self.up) || cut(&self.down) => {
                let mode = |towards: &Direction| {
                    if towards.state() == Failed { CloseMode::Reset } else { CloseMode::Close }
                };
                (mode(&self.down), mode(&self.up))
            }
            (Shut, Shut) => {
                // With fastclose, or where a filter ends the connection, one of them may still be sending.
                let mode = |from: &Direction, patient| {
                    if from.eof() { CloseMode::Close } else { CloseMode::Drain { patient } }
                };
                (mode(&self.up, self.demand() == FilterDemand::Close), mode(&self.down, false))
            }
            (Dead, Shut) => (CloseMode::Drain { patient: true }, CloseMode::Close),
            (Shut, Dead) => (CloseMode::Close, CloseMode::Drain { patient: true }),
            (Dead, Dead) => (CloseMode::Reset, CloseMode::Reset),
            _ => return None,
        };
        Some(LingeringClose::new(client, server))
    }

    /// Closes both sockets, and waits for that if it takes time.
    fn close(&mut self, cx: &mut Context<'_>, mut how: LingeringClose, cause: Cause) -> Poll<RelayOutcome> {
        if how.poll(cx, &mut self.client, &mut self.server).is_pending() {
            self.finish = Some(Box::new(Finish::Closing(how, cause)));
            return Poll::Pending;
        }
        self.closed = true;
        Poll::Ready(self.end(cause))
    }

    /// `cause` unless there was an error before.
    fn end(&mut self, cause: Cause) -> RelayOutcome {
        let cause = match self.fault.take() {
            Some(fault) => Cause::Broken { side: fault.0, error: fault.1 },
            None => cause,
        };
        RelayOutcome {
            to_server: self.up.moved(),
            to_client: self.down.moved(),
            cause,
            first: self.first_end,
        }
    }

    /// How to close both sides of a connection that pen ends. `at_rest`: whether no data seems to be moving or expected, up
    /// and down; a filter may know better.
    fn close_modes(&self, at_rest: [bool; 2]) -> (CloseMode, CloseMode) {
        let server_is_down =
            matches!(self.finish.as_deref(), Some(Finish::Soon(period)) if period.server_is_down);
        // Without a filter that knows, a server that is down may have had more to say.
        let answers = self.filter.as_ref().map_or(AnswerProgress::Unknown, |filter| filter.answer_progress());
        let is_complete = answers == AnswerProgress::Complete;
        let answers_rest = match answers {
            AnswerProgress::Complete => true,
            AnswerProgress::Incomplete => false,
            AnswerProgress::Unknown => at_rest[1] && !server_is_down,
        };
        let up = DirectionProgress {
            direction: &self.up,
            unread: self.client.has_unread(),
            at_rest: at_rest[0] && !server_is_down,
            is_complete: false,
        };
        let down = DirectionProgress {
            direction: &self.down,
            unread: self.server.has_unread(),
            at_rest: answers_rest,
            is_complete,
        };
        ending::close_modes(&up, &down)
    }

    /// Ends the connection at once: unacknowledged data is lost where more was to come.
    fn close_now(&mut self, cx: &mut Context<'_>, at_rest: [bool; 2]) {
        self.closed = true;
        let modes = self.close_modes(at_rest);
        self.say_end(cx, modes);
        for (mode, stream) in [(modes.0, &self.client), (modes.1, &self.server)] {
            if mode == CloseMode::Reset {
                stream.set_reset_on_close();
            }
        }
    }

    /// Sends a clean end to peers that closing the socket does not tell, as far as that is possible without waiting.
    fn say_end(&mut self, cx: &mut Context<'_>, modes: (CloseMode, CloseMode)) {
        for (mode, stream) in [(modes.0, &mut self.client), (modes.1, &mut self.server)] {
            if mode == CloseMode::Close && !stream.closes_cleanly() {
                _ = stream.poll_shutdown(cx);
            }
        }
    }
}

impl<M: SharedMeter + Unpin> Future for Relay<M> {
    type Output = RelayOutcome;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<RelayOutcome> {
        let relay = self.get_mut();
        if let Some(Finish::Closing(how, cause)) = relay.finish.as_deref_mut() {
            ready!(how.poll(cx, &mut relay.client, &mut relay.server));
            let cause = std::mem::replace(cause, Cause::Closed);
            relay.closed = true;
            return Poll::Ready(relay.end(cause));
        }
        if !relay.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            relay.waker = Some(cx.waker().clone());
            relay.up.forget_waker();
            relay.down.forget_waker();
        }
        // What the lanes have transferred was moved earlier.
        let left = relay.take_over();
        let before = relay.moved();
        let first = ready!(relay.fast_path(cx, left));
        let mut demand = relay.demand();
        relay.poll_directions(cx, first);
        // The server's data may be what the client's direction waits for.
        while relay.demand() != std::mem::replace(&mut demand, relay.demand()) {
            relay.stop |= demand == FilterDemand::Close;
            relay.poll_directions(cx, (None, None));
        }
        if !relay.stop
            && ((relay.up.eof() && relay.fastclose.down) || (relay.down.eof() && relay.fastclose.up))
        {
            relay.stop = true;
            relay.poll_directions(cx, (None, None));
        }
        relay.note_progress(before);
        let active = relay.report_pending() || before != relay.moved();
        if let Some(how) = relay.orderly_close() {
            let refused = relay.demand() == FilterDemand::Close;
            return relay.close(cx, how, if refused { Cause::Refused } else { Cause::Closed });
        }
        let moved = relay.moved();
        if let Some(Finish::Soon(ending)) = relay.finish.as_deref_mut()
            && let Poll::Ready(at_rest) = ending.poll(cx, before, moved)
        {
            let modes = relay.close_modes([at_rest[0], at_rest[1] && !relay.answer_due]);
            relay.say_end(cx, modes);
            let how = LingeringClose::new(modes.0, modes.1).within(ending::LINGER);
            return relay.close(cx, how, Cause::Ended);
        }
        if relay.idle.is_none() && relay.is_stalled() {
            // The destination must not take forever.
            relay.idle = Some(Box::new(Idle::new(closing::STALL)));
        }
        if let Some(idle) = &mut relay.idle {
            ready!(idle.poll(cx, active));
            // An answer that has not come by then is not awaited: the client may only send.
            relay.close_now(cx, [true; 2]);
            return Poll::Ready(relay.end(Cause::Idle));
        }
        Poll::Pending
    }
}

impl<M: SharedMeter> Drop for Relay<M> {
    fn drop(&mut self) {
        if !self.closed {
            // How the connection ends depends on what was delivered and what was not.
            self.take_over();
            self.close_now(&mut Context::from_waker(Waker::noop()), [true, !self.answer_due]);
        }
        if self.pending != (0, 0) {
            self.meter.pending(0, 0);
        }
    }
}
